"""The keys: every name that asyncq gives to anything in Redis.

All keys of a namespace share one hash tag, so a namespace lies in one slot, and in a cluster on one node. Steps that
are atomic over several queues - a fetch, ids that are unique in the namespace, what a task leaves behind when it ends -
are worth more than spreading one namespace over nodes: a cluster gives a namespace its failover, and several namespaces
spread.

    {ns}:q:QUEUE:messages       HASH    id -> body, of every message that has not ended
    {ns}:q:QUEUE:line           LIST    members (digit of the priority, and id) that are ready, priority 0, in order
    {ns}:q:QUEUE:ahead          ZSET    members that are fetched before the line: larger priorities, and the handed back
    {ns}:q:QUEUE:suspects       ZSET    members like those of `ahead` that are suspects: lent one at a time
    {ns}:q:QUEUE:due            ZSET    member -> ms since 1970 at which it joins the ready ones
    {ns}:q:QUEUE:running        HASH    member -> token of its delivery: consumer/fetch and queue/place
    {ns}:q:QUEUE:crashes        HASH    member -> how often who held it died, a space, lines: consumers taken for dead
    {ns}:q:QUEUE:withdrawn      HASH    member -> how often it still stands in the line, where it must stay
    {ns}:q:QUEUE:wake           LIST    at most one token, on which idle consumers block
    {ns}:q:QUEUE:wake_suspects  LIST    the same, for those among them that may take a suspect
    {ns}:q:QUEUE:sequence       STRING  counter behind the order of `ahead` and `suspects`
    {ns}:q:QUEUE:consumer:C     STRING  exists while C may fetch; the lowest number that its fetches may have
    {ns}:q:QUEUE:watch          HASH    id -> addresses to tell of its end; expires
    {ns}:q:QUEUE:progress       HASH    id -> ms until which it is kept, a space, latest progress; expires
    {ns}:q:QUEUE:result:ID      STRING  record of an ended call; expires
    {ns}:q:QUEUE:dead           ZSET    id -> time of death, of dead letters; expires
    {ns}:q:QUEUE:fading         ZSET    id -> ms until which the letter is kept; expires
    {ns}:q:QUEUE:letters        HASH    id -> dead letter; expires
    {ns}:q:QUEUE:terms          HASH    id -> JSON of what has to be granted before it is lent, of those that have any
    {ns}:q:QUEUE:turns          ZSET    OF -> ms at which the line of this count is asked for; infinite: when called
    {ns}:q:QUEUE:turn:OF        ZSET    members like those of `ahead` that stand in this line
    {ns}:q:QUEUE:stands         HASH    member -> OF of the line in which it stands
    {ns}:q:QUEUE:lanes          ZSET    GROUP of a lane -> its turn; empty: all that have no group, which have no lane
    {ns}:q:QUEUE:lane:0:GROUP   ZSET    ready members of a group -> us at which they were, less 60 s for each priority;
                                        below 0: they were handed back
    {ns}:q:QUEUE:laned          SET     OF of the lines that have lanes
    {ns}:q:QUEUE:lanes:OF, ...:lane:SIZE:OFGROUP    as those of the queue, of the line of OF, a text of that size
    {ns}:q:QUEUE:generations    HASH    id -> its generation where that is not 0; r: it was reopened, and waits; c: it
                                        was given another body, and waits
    {ns}:q:QUEUE:ended:ID       STRING  generation in which the ledger's last call has ended; expires
    {ns}:q:QUEUE:uniques        HASH    id -> s or e, and the unique key that the call gives back at its start or end
    {ns}:unique:KEY             STRING  ms at which it was taken, a space, its owner's queue, a line feed, and id;
                                        expires where it has a time, and with the claim of its owner that is not
                                        published yet; else is the owner's while that has a message
    {ns}:claim:ID               STRING  generation, a space, queue, a line feed, body: to be published; behind the space
                                        the term of its unique key, whose size is told behind the generation; expires
    {ns}:orphans                ZSET    queue, a space, id of the ledger's messages that were reclaimed, or have changed
                                        while they waited -> number in their order, and a digit: the priority
    {ns}:ledger                 STRING  exists where the messages are elsewhere, and a ledger knows of them
    {ns}:limits                 HASH    `declared LIMIT`, `changed LIMIT` -> how many, in how many ms, and burst
    {ns}:waited                 ZSET    OF of which somebody waits outside of tasks -> ms until which; expires
    {ns}:lined                  SET     names of queues that have lines of limits
    {ns}:grants:OF              LIST    ms, weight, and the sum of weights up to it, of each grant; expires
    {ns}:paused:LIMIT, ...:OF   STRING  ms until which nothing is granted; expires
    {ns}:holders:OF             HASH    queue and member of a call that holds a slot -> nothing; waiter -> ms until when
    {ns}:counted:OF             STRING  exists for a second after the many holders were counted; expires
    {ns}:waiters:OF             ZSET    waiter -> us at which it came; expires
    {ns}:waiting:OF             ZSET    waiter -> ms until which its place is kept; expires
    {ns}:call:W                 LIST    one token that tells waiter W to ask again; expires
    {ns}:schedules              HASH    name -> schedule, with how it stands
    {ns}:ticks                  ZSET    name of a schedule -> ms at which it is next due
    {ns}:declared               ZSET    name of a schedule of the code -> ms until which it is known to stand there
    {ns}:ticked                 channel on which schedulers are told of what is due earlier than all else
    {ns}:queues                 SET     names of queues that were ever published to
    {ns}:workers                ZSET    consumer -> ms at which its lease ends; infinite: it is being reclaimed
    {ns}:queues_of              HASH    consumer -> its queues
    {ns}:about                  HASH    consumer -> what it told of itself at its last renewal
    {ns}:interrupt:C            LIST    one token that ends C's wait; expires
    {ns}:orders:C               SET     tokens of deliveries that were withdrawn while C held them, until C has obeyed;
                                        expires
                                channel of the same name, on which C is told of each
    {ns}:reply:RANDOM           channel of one process, which is its address

OF names one count of a limit: `rate NAME KEY` or `slots NAME KEY`; LIMIT is that without the key.

A ledger has no line but those of limits, and one of each queue itself, whose OF is `queue`: of a queue's keys it has
those that speak of single calls (`messages`, `running`, `crashes`, `due`, `watch`, `progress`, `result`, `terms`,
`stands`), with members of priority 0; and `turns`, `turn:OF`, `laned`, `lanes:OF`, `lane:SIZE:OFGROUP`, `sequence`,
`wake` and `consumer`.

What has no TTL goes with the messages and consumers that it speaks of; what was withdrawn in the middle of a long line
stays there, and in `withdrawn`, until a consumer comes to it; a unique key whose owner was lost with the server's last
moments is free, and goes when it is taken or cleared. Only `sequence`, `queues`, `ledger`, `limits` and a token in
`wake` or `wake_suspects` outlive them: small keys, and few for each queue. Schedules stay until they are removed.
"""

from collections.abc import Sequence

QUEUE_KEYS = (
    *("messages", "line", "ahead", "suspects", "due", "running", "crashes", "withdrawn"),
    *("wake", "wake_suspects", "sequence", "consumer"),
    *("watch", "progress", "result", "dead", "fading", "letters"),
    *("generations", "ended", "uniques"),
    *("terms", "turns", "stands", "lanes"),
)
SPACE_KEYS = (
    *("queues", "workers", "queues_of", "about", "interrupt", "orders", "reply", "claim", "orphans", "ledger"),
    *("schedules", "ticks", "declared", "ticked"),
    *("unique", "limits", "lined", "waited", "paused", "call"),
)

_PREFIXES = {"consumer", "result", "ended", "claim", "interrupt", "orders", "reply", "unique", "paused", "call"}
"""Names that are followed by a colon and the name of what they are kept for."""


def ending_of(name: str) -> str:
    """Return what follows the prefix in a key of that name."""
    return f"{name}:" if name in _PREFIXES else name


class Keys:
    """Keys by the names that are used for them here; `prefix` is that with which they all begin.

    Args:
        prefix: with which they all begin, but for the colon behind it.
        names: of the keys that begin with it.
        others: keys that don't, but are asked for along with them.
    """

    __slots__ = ("_names", "_selections")

    def __init__(self, prefix: str, names: Sequence[str], others: "Keys | None" = None) -> None:
        self._names: dict[str, str] = dict(others._names) if others else {}
        self._names |= {name: f"{prefix}:{ending_of(name)}" for name in names} | {"prefix": f"{prefix}:"}
        self._selections: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __getitem__(self, name: str) -> str:
        return self._names[name]

    def select(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return several, in the order asked for."""
        selection = self._selections.get(names)
        if selection is None:
            selection = self._selections[names] = tuple(self._names[name] for name in names)
        return selection


class KeySpace:
    """All keys of one namespace.

    Attributes:
        own: those that belong to no queue.
    """

    __slots__ = ("_queues", "_tag", "own")

    def __init__(self, namespace: str) -> None:
        self._tag = f"{{{namespace}}}"
        self.own = Keys(self._tag, SPACE_KEYS)
        self._queues: dict[str, Keys] = {}

    def queue(self, name: str) -> Keys:
        """Return the keys of a queue."""
        keys = self._queues.get(name)
        if keys is None:
            keys = self._queues[name] = Keys(f"{self._tag}:q:{name}", QUEUE_KEYS, self.own)
        return keys
