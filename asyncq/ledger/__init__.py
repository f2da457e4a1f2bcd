"""The ledger contract: what remembers the calls of a transport that only moves them (RabbitMQ).

The transport has the messages, and may deliver one more than once: a connection was cut, a worker died, a publish was
repeated. The ledger knows of each call whether it runs, where and under which token, how many have died of it, and how
it ended. So a copy is told from the message, a late worker from the one that has the call now, and a poisonous
message from an innocent one. It shares its data with a store: what it writes, `Store.look` finds and watchers are told.

Nothing is lost with the ledger but what it knew: an id that it has not heard of is lent like a new one.

A namespace belongs to a ledger or to a transport of its store's kind, never to both: whichever comes second, and sees
it, raises `ConfigurationError`.

An id may have several lives: a dead letter's call is reopened, and an id that a caller chose is claimed again after its
end. A life may have several attempts, each published under a generation of its own: a number that grows with both
(`next_life`, `next_attempt`). While a call has not ended, a copy of a newer generation is what it has become, and an
older one is not wanted. Once it has ended, no copy of that life is wanted, of whatever attempt: a late consumer may
have published one more before it learned that it had lost the call. A copy of a later life is wanted: a failover may
have lost that the id was given another.

An end is remembered for `remembered_ms`, and of a later life for no less than the ends before it, because a copy may be
under way: delivered and not asked for, in a line, or waiting to be due.

A unique key is claimed together with the id, and kept as a transport keeps it (`UniqueTerm`): it is given back in the
step that ends its call, or first lends it. What becomes of a call that waits - another body, another time - is its next
attempt, of which the transport has no copy yet: it is an orphan, until that was published and `placed`. So whoever dies
in between loses nothing.

What limits have to grant comes with a copy (`Copy.terms`), and is granted in the step that lends it, all or nothing.
What is not granted is **parked**: it waits in its line in the ledger, which has its body, and is lent from there when
its turn has come (`take_turns`). Its copies are for the day on which the ledger has forgotten it: the transport has
them come again now and then.

Groups (`Terms.group`) take turns in the line of each limit, and in one more: that of the queue itself, in which a turn
is always there. A call of a group is parked behind those who wait in it, also where it needs nothing else; and whoever
has no time for what has come lets it wait there (`line_up`), whether or not it has a group. So what one group has a lot
of does not hold up the few of another behind it.

Every verb raises `BrokerUnavailable` when the server does not answer. All times are milliseconds since 1970 by the
ledger's clock (`now_ms`).
"""

from asyncq.ledger.holder import Holder
from asyncq.ledger.ledger import Ledger
from asyncq.ledger.lives import (
    AFTER_PARKING_MS,
    LIFE,
    PARKED_MS,
    PUT_OFF_MS,
    TOMBSTONE_MS,
    WITHDRAWN_MS,
    next_attempt,
    next_life,
    remembered_ms,
    without_transport,
)
from asyncq.ledger.verdicts import Claimed, ClaimReceipt, Copy, Held, Lent, Parked, Replaced, Suspect, Turns, Verdict

__all__ = [
    "AFTER_PARKING_MS",
    "LIFE",
    "PARKED_MS",
    "PUT_OFF_MS",
    "TOMBSTONE_MS",
    "WITHDRAWN_MS",
    "ClaimReceipt",
    "Claimed",
    "Copy",
    "Held",
    "Holder",
    "Ledger",
    "Lent",
    "Parked",
    "Replaced",
    "Suspect",
    "Turns",
    "Verdict",
    "next_attempt",
    "next_life",
    "remembered_ms",
    "without_transport",
]
