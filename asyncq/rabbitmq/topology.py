"""The topology: what has to be declared on the server, as data, as text, and as JSON for its own tools.

All of it is durable and nothing is deleted automatically, but for the queues of replies, which end when nobody has
asked for a while. (To the server, publishing to a queue is not using it: what holds messages must not expire.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from asyncq.rabbitmq import delays
from asyncq.rabbitmq.delays import Rung
from asyncq.rabbitmq.names import Names

DELIVERY_LIMIT = 20
"""Deliveries without a settlement after which the server itself takes a message for poison; workers do so sooner."""
NO_DELIVERY_LIMIT = 2**31 - 1
"""Looking at a dead letter counts as a delivery. From 4.0 on, 20 is the default, and only there -1 means none."""
REPLIES_EXPIRE_MS = 600_000

_DEAD_LETTERS_STAY = (("x-dead-letter-strategy", "at-least-once"), ("x-overflow", "reject-publish"))
"""The default loses what becomes due while the server starts. It takes both."""

_KEPT_TO_BE_LOOKED_AT = (("x-queue-type", "quorum"), ("x-delivery-limit", NO_DELIVERY_LIMIT))

Arguments = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange.

    Attributes:
        kind: "direct", "fanout" or "topic".
    """

    name: str
    kind: str
    arguments: Arguments = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.title}{_listed(self.arguments)}"

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"exchange {self.name!r}"

    def definition(self, virtual_host: str) -> dict[str, object]:
        """Return it as the server's tools import it."""
        return {
            "name": self.name,
            "vhost": virtual_host,
            "type": self.kind,
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue on the server."""

    name: str
    arguments: Arguments

    def __str__(self) -> str:
        return f"{self.title}{_listed(self.arguments)}"

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"queue {self.name!r}"

    def definition(self, virtual_host: str) -> dict[str, object]:
        """Return it as the server's tools import it."""
        return {
            "name": self.name,
            "vhost": virtual_host,
            "durable": True,
            "auto_delete": False,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True, slots=True)
class Binding:
    """What leads from an exchange to a queue, or to another exchange.

    Attributes:
        kind: of the destination, "queue" or "exchange".
    """

    source: str
    kind: str
    destination: str
    key: str

    def __str__(self) -> str:
        return f"{self.title} by {self.key!r}"

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"binding from exchange {self.source!r} to {self.kind} {self.destination!r}"

    def definition(self, virtual_host: str) -> dict[str, object]:
        """Return it as the server's tools import it."""
        return {
            "source": self.source,
            "vhost": virtual_host,
            "destination": self.destination,
            "destination_type": self.kind,
            "routing_key": self.key,
            "arguments": {},
        }


Declaration = Exchange | Queue | Binding


class Topology:
    """What one namespace needs.

    Args:
        priorities: the largest priority of each queue that has any. Such a queue is a classic one, on one node; all
            others are quorum queues.
    """

    def __init__(self, names: Names, priorities: Mapping[str, int] | None = None) -> None:
        self.names = names
        self._priorities = dict(priorities or {})

    @property
    def has_urgent(self) -> bool:
        """Whether calls may be urgent, and so need a ladder of their own."""
        return any(map(is_urgent_at, self._priorities.values()))

    def queue(self, name: str) -> list[Declaration]:
        """Return what has to be there to publish to a queue, now or later, and to consume it."""
        names = self.names
        full, dead = names.queue(name), names.dead_letters(name)
        return [
            *self._due(),
            Exchange(names.ready, "direct"),
            Exchange(names.dead, "direct"),
            Exchange(names.replies, "direct"),
            Queue(full, self._arguments(name)),
            Queue(dead, _KEPT_TO_BE_LOOKED_AT),
            Binding(names.ready, "queue", full, name),
            Binding(names.due, "queue", full, delays.due_pattern(name)),
            Binding(names.dead, "queue", dead, name),
        ]

    def ladder(self, rungs: Iterable[Rung]) -> list[Declaration]:
        """Return these rungs, and what is needed for going past the others below the highest of them."""
        rungs = sorted(rungs, key=lambda rung: (rung.is_urgent, rung))
        highest = {rung.is_urgent: rung.level for rung in rungs}
        levels = [(level, urgent) for urgent, most in highest.items() for level in range(most + 1)]
        return [
            *self._due(),
            *(part for level, urgent in levels for part in self._level(level, urgent)),
            *(part for rung in rungs for part in self._rung(rung)),
        ]

    def reply(self, address: str, number: int = 0) -> list[Declaration]:
        """Return what results for one process need.

        They go through an exchange of their own: a queue on a node that is down can be neither deleted nor declared
        anew, but the address can be bound to another one.
        """
        queue, replies = self.names.reply(address, number), self.names.replies
        arguments = (("x-queue-type", "classic"), ("x-expires", REPLIES_EXPIRE_MS))
        return [Exchange(replies, "direct"), Queue(queue, arguments), Binding(replies, "queue", queue, address)]

    def _arguments(self, name: str) -> Arguments:
        priority = self._priorities.get(name, 0)
        if priority:
            return (("x-queue-type", "classic"), ("x-max-priority", server_priority(priority, is_handed_back=True)))
        return (
            ("x-queue-type", "quorum"),
            ("x-delivery-limit", DELIVERY_LIMIT),
            ("x-dead-letter-exchange", self.names.dead),
            ("x-dead-letter-routing-key", name),  # what came through the ladder has another
            *_DEAD_LETTERS_STAY,
        )

    def _due(self) -> list[Declaration]:
        """Return what is below the ladder.

        Of what it cannot route, the server keeps 32 messages and tries them again and again; then the level that they
        are in stands still, for all queues. So what is for a queue that does not exist must have another place.
        """
        stray = self.names.stray
        return [
            Exchange(stray, "fanout"),
            Exchange(self.names.due, "topic", (("alternate-exchange", stray),)),
            Queue(stray, _KEPT_TO_BE_LOOKED_AT),
            Binding(stray, "queue", stray, ""),
        ]

    def _level(self, level: int, is_urgent: bool) -> list[Declaration]:
        name, below = (self.names.level(each, is_urgent=is_urgent) for each in (level, level - 1))
        return [Exchange(name, "topic"), Binding(name, "exchange", below, delays.pattern(level, 0))]

    def _rung(self, rung: Rung) -> list[Declaration]:
        name, (level, value, is_urgent) = self.names.rung(rung), rung
        arguments = (
            ("x-queue-type", "quorum"),
            ("x-message-ttl", rung.wait_ms),
            ("x-dead-letter-exchange", self.names.level(level - 1, is_urgent=is_urgent)),
            *_DEAD_LETTERS_STAY,
        )
        return [
            Queue(name, arguments),
            Binding(self.names.level(level, is_urgent=is_urgent), "queue", name, delays.pattern(level, value)),
        ]


def server_priority(priority: int, *, is_handed_back: bool) -> int:
    """Return the priority on the server: each of ours has a second one above, for what was handed back to its place."""
    return 2 * priority + is_handed_back


def is_urgent_at(priority: int) -> bool:
    """Say whether calls of this priority of ours have to go through a ladder of their own."""
    return server_priority(priority, is_handed_back=False) >= delays.URGENT


def _listed(arguments: Arguments) -> str:
    return f" with {', '.join(f'{name}={value}' for name, value in arguments)}" if arguments else ""


def text(declarations: Iterable[Declaration], *, most: int | None = None) -> str:
    """Return a line for each; beyond `most` lines, how many more there are."""
    lines = list(map(str, declarations))
    more = len(lines[most:]) if most is not None else 0
    return "\n".join([*lines[:most], *([f"and {more} more"] if more else [])])


def definitions(declarations: Iterable[Declaration], virtual_host: str = "/") -> str:
    """Return them as JSON for `rabbitmqadmin import` and `rabbitmqctl import_definitions`."""
    parts: dict[str, list[dict[str, object]]] = {"exchanges": [], "queues": [], "bindings": []}
    for declaration in declarations:
        match declaration:
            case Exchange():
                part = "exchanges"
            case Queue():
                part = "queues"
            case Binding():
                part = "bindings"
        parts[part].append(declaration.definition(virtual_host))
    return orjson.dumps(parts).decode()
