"""The transport contract: what moves messages from those who publish to those who run them.

A transport knows bytes and the few facts that route them; it never looks into a message. A new one is one package
that passes `asyncq.testing.conformance`. The values here are named tuples because the hot path makes several for every
task, and a tuple is the cheapest immutable thing there is.

Every verb raises `BrokerUnavailable` when the server does not answer within the transport's own deadlines, never a
client library's exception. All times are milliseconds since 1970 by the server's clock (`Transport.now_ms`).
"""

from asyncq.transport.consumer import Consumer
from asyncq.transport.counts import Counts
from asyncq.transport.delivery import SUSPECT_CRASHES, Delivery
from asyncq.transport.envelope import Envelope, Owned, Receipt, Taken
from asyncq.transport.lease import Lease, NoLease
from asyncq.transport.letter import DeadLetter, Revival, Revived
from asyncq.transport.member import Departure, Member
from asyncq.transport.settlement import Again, Dead, Done, Outcome, Return, Settlement
from asyncq.transport.timetable import MAX_CALLS, Answer, Change, Changed, Entry, Timetable
from asyncq.transport.transport import Capabilities, Transport, without_groups, without_limits
from asyncq.transport.unique import KeyOwner, UniqueTerm

__all__ = [
    "MAX_CALLS",
    "SUSPECT_CRASHES",
    "Again",
    "Answer",
    "Capabilities",
    "Change",
    "Changed",
    "Consumer",
    "Counts",
    "Dead",
    "DeadLetter",
    "Delivery",
    "Departure",
    "Done",
    "Entry",
    "Envelope",
    "KeyOwner",
    "Lease",
    "Member",
    "NoLease",
    "Outcome",
    "Owned",
    "Receipt",
    "Return",
    "Revival",
    "Revived",
    "Settlement",
    "Taken",
    "Timetable",
    "Transport",
    "UniqueTerm",
    "without_groups",
    "without_limits",
]
