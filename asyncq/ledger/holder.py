"""The holder: one consumer, as a ledger knows it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from asyncq.ledger.verdicts import Copy, Held, Parked, Turns, Verdict
from asyncq.transport import Lease, Settlement


class Holder(ABC):
    """One consumer, as the ledger knows it. It belongs to one event loop.

    Attributes:
        name: unique for ever.
    """

    name: str

    @abstractmethod
    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Pass on the tokens of what was withdrawn while this consumer had it, as `Consumer.run` does."""

    @abstractmethod
    async def take(self, copies: Sequence[Copy], *, suspects: int = 1) -> Sequence[Verdict]:
        """Ask for copies that have come, in order; each is lent, parked, left, held or not wanted, in one atomic step.

        What a call needs is what the ledger has heard of last; of one that is newer, or that it did not know, what the
        copy says. A suspect that needs something is parked whatever there is: `take_turns` lends it. The end of one
        that was parked is remembered for as long as a copy may be away, and longer.

        Lending notes the message, whether or not it was known. A copy of an older generation than the ledger has heard
        of is not wanted; one of a newer generation is what the call has become; of a call that has ended only a copy of
        a later life. Nor is one of the same generation wanted, with another body than the call was given while it
        waited: somebody has published that who had lost the call.

        Suspects beyond those that may be lent are noted and left to others. They are at no moment this holder's: it may
        be about to die of the one that it is lent, and only that one is to have a crash of it.

        What a `take` had lent whose answer was lost, or that was cancelled, is let go by the next one, unharmed.

        Args:
            copies: what has come, in order.
            suspects: how many of those that are lent may be suspects.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def line_up(self, copies: Sequence[Copy]) -> Sequence[Held | Parked | None]:
        """Let copies that have come wait in the lines of their queues, in order, as `take` does, and lend none of them.

        Those of a group wait in its lane, all others in one together. Somebody who waits is called.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def take_turns(self, limits: Mapping[str, int], count: int, *, suspects: int = 1) -> Turns:
        """Ask for calls that were parked and whose turn has come, in one atomic step.

        Lines take turns, and in each of them groups. A call that lacks something else by now, or has others before it
        who do, moves to the line of that. What an earlier one had lent whose answer was lost is let go by the next, or
        a `take`: an orphan, unless it stands in line again.

        Args:
            limits: how many of each queue may be taken.
            count: how many in all; 0: none, but whoever else waits is called if there are some.
            suspects: how many of them may be suspects. Those beyond are passed over in their lines.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def called(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until calls of these queues may have got their turn by a freed slot or a change, or for so long at most.

        Of many who wait one at least is called. It asks, or lets others know by asking for 0. Returns whether it was.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End lendings, in order, each in one atomic step. Safe to send again when the reply was lost.

        Each frees the slots of its call. Of `Done` and `Dead` the outcome is kept and told; the transport has the
        letters and publishes `then`. What follows under an id that a caller chose it claims first, like all that it
        publishes under such an id, and passes over what is taken. `Again` and `Return` leave the call waiting; `Again`
        with its new body, as the next attempt; `Return` with the terms that it says, if any.

        What `Again` sends on, and what follows, is published before: an old copy brings nothing back. What `Return`
        hands back is published, or rejected, after: who takes it before finds that it is held.

        Returns:
            For each whether it took effect. False: it was no longer lent to this consumer.
        """

    @abstractmethod
    async def absolve(self) -> None:
        """Take back the crashes that were counted in its name, as `Consumer.absolve` does."""

    @abstractmethod
    def lease(self) -> Lease:
        """Return this consumer's lease, to be used from one other thread. What it reclaims becomes orphans."""

    @abstractmethod
    async def leave(self) -> int:
        """Let go, without a crash, of whatever is still lent, and end the membership. Returns how many it was.

        Before the deliveries go back: they are no orphans.
        """
