"""The ledger itself: what is known of calls, whoever asks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from asyncq.errors import NotSupported
from asyncq.ledger.holder import Holder
from asyncq.ledger.verdicts import ClaimReceipt, Copy
from asyncq.limits import LimitOffice
from asyncq.transport import Envelope, KeyOwner, Member, Outcome, Revival, Timetable


class Ledger(ABC):
    """A memory for a transport that has none. Opened and closed by that transport, on one event loop."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, or raise BrokerUnavailable with what was tried."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Holders are left as they are."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the server's clock, as well as it is known here."""

    @abstractmethod
    async def note(self, envelopes: Sequence[Envelope]) -> None:
        """Remember messages that the transport has. What is known already, or has ended meanwhile, is left as it is.

        `Envelope.due_ms` says until when one is looked at as scheduled. A claim for the same body becomes the call, and
        a unique key that was claimed with the id is the call's; where that has lapsed, it is taken unless it is
        another's by now.

        Raises:
            BrokerUnavailable: also where there is no room for more. That is no reason to fail a publish which the
                transport has confirmed: the call runs all the same, and is known when it is first lent. Until then it
                is not seen, nor withdrawn, and its claim may lapse; the transport may try again.
        """

    @abstractmethod
    async def claim(self, envelopes: Sequence[Envelope], *, ttl_ms: int) -> Sequence[ClaimReceipt]:
        """Claim ids, and unique keys with them, before their messages are published, each in one atomic step.

        Args:
            envelopes: what is to be published.
            ttl_ms: how long a claim holds unless `note` or `take` follows; until then nothing is seen of the call.

        Returns:
            For each the generation to publish it with: a later life than any of that id whose end is remembered; or who
            has the id; or, not raised, that there is no room for more. Who claims it for the same body while the claim
            is open gets it, too: the outcome of the publish is not known yet, and a copy does no harm. For the same
            reason who finds the open claim of another body (`Claimed`) is to publish that, before saying that the id is
            taken by it; the claim holds for as long again. The same goes for a key; who then wants to replace the call
            that has it notes that, and claims again.
        """

    @abstractmethod
    async def strike(self, envelopes: Sequence[Envelope]) -> None:
        """Take back claims that are open, with their keys: the transport has refused the messages."""

    @abstractmethod
    async def holder(self, name: str, queues: Sequence[str], *, lease: float) -> Holder:
        """Become a member of the consumers of these queues, under a lease of so many seconds."""

    @abstractmethod
    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        """End a call that waits, as `Transport.withdraw` does; its copies are not wanted any more.

        A claim is no call yet, and what was not noted is none either, wherever its message is: a transport first awaits
        those of its own notes that are under way.
        """

    @abstractmethod
    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, priority: int, expires_ms: int = 0
    ) -> Copy | None:
        """Give a call that waits another body and another time, as `Transport.reschedule` does.

        Returns:
            What it has become: to be published, and `placed`. None: it is not there, or not as it was read, or lent.
        """

    @abstractmethod
    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        """Return keys that are taken, as `Transport.unique_keys` does; of an open claim until when that holds."""

    @abstractmethod
    async def clear_unique(self, key: str) -> bool:
        """Give back a key, as `Transport.clear_unique` does."""

    @abstractmethod
    async def release(self, names: Sequence[str]) -> int:
        """Reclaim at once what these consumers hold, whose process is known to be dead, as `Transport.release` does."""

    @abstractmethod
    async def orphans(self, limit: int) -> Sequence[Copy]:
        """Return messages that were reclaimed, reopened, or given another body or time, and not `placed` since.

        The oldest come first.

        The transport may have no copy that it would deliver: they are to be published again as they are.
        """

    @abstractmethod
    async def placed(self, copies: Sequence[Copy]) -> None:
        """Forget that these were orphans: they were published again. What was sent on since is left as it is."""

    @abstractmethod
    async def reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        """Let calls run again whose letters the transport is about to publish, as `Transport.revive` does.

        Until they were published, and `placed`, they are orphans: who dies in between leaves nobody waiting. Safe to
        repeat until the call runs, also with another body. Whether the letter is there is for the transport to say.

        Returns:
            For each the generation to publish it with, that of its next life; None: its id, or its unique key, belongs
            to another call (`Revived.TAKEN`).
        """

    @abstractmethod
    async def running(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue are lent."""

    @abstractmethod
    async def scheduled(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue are known to be due later."""

    @abstractmethod
    async def parked(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue wait in lines."""

    def limits(self) -> LimitOffice:
        """Return where limits are declared and changed. Raises NotSupported where there are none."""
        raise NotSupported("This ledger keeps no limits.")

    @abstractmethod
    async def known_queues(self) -> Sequence[str]:
        """Return the queues that were ever noted, as far as is remembered, in alphabetical order."""

    def timetable(self) -> Timetable:
        """Return what remembers schedules. It is given changes without calls: the transport publishes those.

        Raises:
            NotSupported: nothing does.
        """
        raise NotSupported("This ledger remembers no schedules.")

    @abstractmethod
    async def members(self) -> Sequence[Member]:
        """Return the consumers, in alphabetical order."""
