"""The names: of every exchange, queue, routing key and header that asyncq has in RabbitMQ.

    asyncq:NS               direct exchange    what is due now, by the name of its queue
    asyncq:NS:q:QUEUE       queue              what waits, and what runs
    asyncq:NS:dead          direct exchange    dead letters, by the name of their queue
    asyncq:NS:q:QUEUE:dead  queue              dead letters of a queue
    asyncq:NS:looking:HASH  queue              there while somebody looks at the dead letters of a queue
    asyncq:NS:delay         topic exchange     below the ladder: what becomes due
    asyncq:NS:delay:MS      topic exchange     a level of the ladder, by what its digit counts
    asyncq:NS:delay:MS      queue              where a message waits, by how long
    asyncq:NS:delay:urgent:MS                  the same for messages of a high priority
    asyncq:NS:stray         fanout exchange    what became due for a queue that is not there, and its queue
    asyncq:NS:reply         direct exchange    results, by the address of the process that waits for them
    asyncq:NS:reply:RANDOM  queue              results for one process; its next one, if need be, ends in :1

The server bounds names and routing keys to 255 bytes.
"""

import re
from hashlib import sha1

from asyncq.errors import ConfigurationError
from asyncq.queues import check_queue_name
from asyncq.rabbitmq import delays

MAX_NAME = 255
MAX_QUEUE = MAX_NAME - len(delays.route(1).key(""))
"""Characters of a queue's name: before it, the routing key says through which levels of the ladder it goes."""

HEADER_ID = "asyncq-id"
HEADER_DUE = "asyncq-due-ms"
HEADER_CRASHES = "asyncq-crashes"
HEADER_GENERATION = "asyncq-generation"
HEADER_ROUNDS = "asyncq-rounds"
HEADER_YIELDS = "asyncq-yields"
HEADER_TERMS = "asyncq-terms"
HEADER_REASON = "asyncq-reason"
HEADER_RECORD = "asyncq-record"
HEADER_DIED = "asyncq-died-us"

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]+")


class Names:
    """The names of one namespace.

    Args:
        namespace: letters, digits, `_`, `.` and `-`, so that no name of one is a name of another.

    Attributes:
        ready: exchange of what is due now. Its routing keys are names of queues, as everywhere but in the ladder.
        dead: exchange of dead letters.
        due: exchange below the ladder.
        stray: exchange and queue of what `due` cannot deliver.
        replies: exchange of results. Its routing keys are addresses of processes.
    """

    __slots__ = ("_prefix", "dead", "due", "ready", "replies", "stray")

    def __init__(self, namespace: str) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigurationError(
                f"On RabbitMQ a namespace is made of letters, digits, '_', '.' and '-'; got {namespace!r}."
            )
        self._prefix = self.ready = f"asyncq:{namespace}"
        self.dead = f"{self._prefix}:dead"
        self.due = f"{self._prefix}:delay"
        self.stray = f"{self._prefix}:stray"
        self.replies = f"{self._prefix}:reply"

    def queue(self, name: str) -> str:
        """Return what a queue is called on the server. ConfigurationError: it is too long for that."""
        limit = min(MAX_QUEUE, MAX_NAME - len(f"{self._prefix}:q::dead"))
        if len(check_queue_name(name)) > limit:
            raise ConfigurationError(
                f"Queue {name!r}: on RabbitMQ and in this namespace its name may have {limit} characters; "
                f"it has {len(name)}. (The server bounds names to {MAX_NAME}, with what asyncq adds to them.)"
            )
        return f"{self._prefix}:q:{name}"

    def dead_letters(self, name: str) -> str:
        """Return the queue of a queue's dead letters."""
        return f"{self.queue(name)}:dead"

    def looking(self, name: str) -> str:
        """Return the queue that whoever looks at a queue's dead letters has for himself meanwhile."""
        return f"{self._prefix}:looking:{sha1(name.encode(), usedforsecurity=False).hexdigest()}"

    def level(self, level: int, *, is_urgent: bool = False) -> str:
        """Return the exchange of a level of a ladder; below the lowest, `due`."""
        return f"{self._ladder(is_urgent)}:{delays.unit_ms(level)}" if level >= 0 else self.due

    def rung(self, rung: delays.Rung) -> str:
        """Return a queue of a ladder."""
        return f"{self._ladder(rung.is_urgent)}:{rung.wait_ms}"

    def reply(self, address: str, number: int = 0) -> str:
        """Return the queue of a process that waits for results; the number says how many it has had before."""
        return f"{self.replies}:{address}:{number}" if number else f"{self.replies}:{address}"

    def _ladder(self, is_urgent: bool) -> str:
        return f"{self.due}:urgent" if is_urgent else self.due
