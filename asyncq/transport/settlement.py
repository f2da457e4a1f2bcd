"""The settlements: how a delivery ends, and what is kept of its call."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from asyncq.terms import Terms
from asyncq.transport.delivery import Delivery
from asyncq.transport.envelope import Envelope


class Outcome(NamedTuple):
    """What is kept of a call that has ended.

    Attributes:
        record: its encoded result; None: nothing is kept, and who waits is told that it is gone.
        ttl_ms: how long the record is kept.
        reply: address of the process to tell; empty: only those who watch the id are told.
    """

    record: bytes | None
    ttl_ms: int = 0
    reply: str = ""


class Done(NamedTuple):
    """The task has ended: acknowledge, keep the outcome, wake who waits, publish what follows; all or nothing.

    Attributes:
        then: published in the same step; one whose id is taken already is passed over. They are part of the
            settlement: where it takes no effect, nothing is published.
    """

    delivery: Delivery
    outcome: Outcome
    then: Sequence[Envelope] = ()


class Again(NamedTuple):
    """The next attempt: acknowledge, and schedule `body` in its place under the same id."""

    delivery: Delivery
    body: bytes
    due_ms: int


class Return(NamedTuple):
    """Hand back unharmed, in its old place: ahead of all that was published later with the same priority.

    Attributes:
        terms: of a message that has come without those of its task: it is lent again when they are granted.
        is_crash: what ran it has died of it, though this consumer lives: one more crash on its count.
    """

    delivery: Delivery
    is_crash: bool = False
    terms: Terms | None = None


class Dead(NamedTuple):
    """No further attempt: acknowledge, keep the message among the dead letters, and keep the outcome as `Done` does.

    Attributes:
        reason: why, in one sentence.
        letter_ttl_ms: how long the letter is kept.
        then: as in `Done`.
        record: the final result, for the letter, of a call whose outcome keeps none.
    """

    delivery: Delivery
    outcome: Outcome
    reason: str
    letter_ttl_ms: int
    then: Sequence[Envelope] = ()
    record: bytes | None = None

    @property
    def letter_record(self) -> bytes | None:
        """What the letter keeps: the outcome's record, so that it is sent and stored once, or else its own."""
        return self.record if self.outcome.record is None else self.outcome.record


Settlement: TypeAlias = Done | Again | Return | Dead
"""`Again` with the unchanged body is a postponement: it uses no attempt."""
