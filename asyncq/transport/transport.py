"""The transport: the verbs of whoever publishes messages, consumes them, or looks after them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asyncq.errors import NotSupported
from asyncq.limits import LimitId, LimitOffice, Numbers
from asyncq.transport.consumer import Consumer
from asyncq.transport.counts import Counts
from asyncq.transport.envelope import Envelope, Receipt
from asyncq.transport.letter import DeadLetter, Revival, Revived
from asyncq.transport.member import Member
from asyncq.transport.settlement import Outcome
from asyncq.transport.timetable import Timetable
from asyncq.transport.unique import KeyOwner


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a transport can do, and the store beside it.

    Attributes:
        is_shared: other processes reach the same messages, so a worker may be one of them.
        spans_machines: also those of other machines.
        has_memory: calls are known by their ids: an id is given once, calls are looked at, watched and withdrawn, and
            consumers are members under a lease, whose crashes are counted and may be taken back. Without it `Taken` is
            never a receipt, `withdraw` raises NotSupported, `members` and `release` find nobody, leases are `NoLease`,
            and the store is a `Replies`.
        keeps_place: what is handed back comes before what was published later. Without it, it may come after.
        has_priorities: every queue has all priorities. Without it, only a `Queue(max_priority=)` has any.
        counts_running: `Counts` tell what is scheduled and running. Without it both are 0, and mean nothing.
        counts_calls: `Counts.ready` counts calls. Without it, messages: also those of calls that were withdrawn or run,
            until a consumer gets them, and without those that are on their way to a consumer of another process.
        has_uniqueness: unique keys are kept to (`Envelope.unique`). Without it nobody looks at them.
        reschedules: calls that wait may be given another time (`Transport.reschedule`).
        shows_line: `first_in_line` shows who waits. Without it nobody is ever seen to.
        has_limits: calls with terms are lent as these are granted, and there is an office for limits.
        has_groups: groups of calls take turns (`Terms.group`), in each queue and in the line of each limit.
        has_schedules: there is a `Timetable`. Without it `timetable` raises NotSupported.
        remedy: the line of code that gives the broker a memory.
    """

    is_shared: bool
    spans_machines: bool = True
    has_memory: bool = True
    keeps_place: bool = True
    has_priorities: bool = True
    counts_running: bool = True
    counts_calls: bool = True
    has_uniqueness: bool = True
    reschedules: bool = True
    shows_line: bool = True
    has_limits: bool = False
    has_groups: bool = False
    has_schedules: bool = False
    remedy: str = ""

    def without_memory(self, what: str) -> NotSupported:
        """Return the error of who asks for something that needs a memory: `what`, with what to add."""
        add = f" Give it one: {self.remedy}." if self.remedy else ""
        return NotSupported(f"{what}: this broker has no memory of calls.{add}")

    def without_uniqueness(self, task: str) -> NotSupported:
        """Return the error of who asks for unique calls of a task where nobody remembers who has a key."""
        if not self.has_memory:
            return self.without_memory(f"{task!r} with unique=")
        return NotSupported(f"{task!r} with unique=: this broker keeps no unique keys. Redis and SQLite do.")


def without_limits(what: str) -> NotSupported:
    """Return the error of who asks a transport for a limit that it cannot keep."""
    return NotSupported(
        f"{what}: this broker keeps no limits. MemoryBroker, SQLiteBroker and RedisBroker do, and RabbitMQBroker does "
        "with store=."
    )


def without_groups(task: str) -> NotSupported:
    """Return the error of who asks for groups that take turns where a queue knows no groups."""
    return NotSupported(
        f"{task!r} with group=: queues of this broker know no groups without a store. Add one: "
        'RabbitMQBroker(..., store="redis://localhost"). Or give large tenants a queue of their own, '
        "options(queue=...): queues of a worker take turns."
    )


class Transport(ABC):
    """A way to move messages. Opened and closed by the broker on one event loop; a new loop gets a new transport."""

    capabilities: Capabilities

    @abstractmethod
    async def open(self) -> None:
        """Connect, or raise BrokerUnavailable with what was tried."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Consumers are left as they are; without a memory they have died of it, with what they hold."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the server's clock, as well as it is known here."""

    @abstractmethod
    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Store the messages, in order; return once the server has them as safe as it keeps anything.

        Each is published or not by itself; all go in few round trips. Publishing one a second time finds itself.

        Returns:
            A receipt for each: None, `Taken`, `Owned`, or a `PublishRefused` (not raised). The id comes first, then the
            unique key, then the room in the queue.

        Raises:
            BrokerUnavailable: the outcome of all of them is unknown; publish the same again. Without a memory what was
                published after all is then there twice.
        """

    @abstractmethod
    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> Consumer:
        """Become a member of the consumers of these queues, under a lease of so many seconds."""

    def limits(self) -> LimitOffice:
        """Return where limits are declared and changed. Raises NotSupported where there are none."""
        raise without_limits("limits()")

    async def declare_limits(self, numbers: Mapping[LimitId, Numbers]) -> None:
        """Say what limits allow of which nobody has said anything, for whoever publishes calls that need them.

        Where what is published does not wait for it, nor does this.
        """
        await self.limits().declare(numbers, is_consumer=False)

    @abstractmethod
    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        """End a call that waits to be fetched, and keep the outcome as `Done` does.

        Args:
            id: the call's.
            queue: where it is.
            outcome: how it ends.
            even_running: also when it is lent to a consumer, which cannot settle it any more and is told (`severed`).

        Returns:
            Whether it was there, and might be ended; False leaves everything as it is.

        Raises:
            NotSupported: there is no memory.
        """

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, expires_ms: int = 0
    ) -> bool:
        """Give a call that waits to be fetched another body and another time, in one atomic step.

        It loses its place; no crash on its count is forgotten.

        Args:
            id: the call's.
            queue: where it is.
            read: its body as it was read: where it is another by now, nothing is done.
            body: its new one.
            due_ms: not to be fetched before; past: at once.
            expires_ms: when it expires by its new body, for terms that say it (`Terms.expires_ms`); 0: never.

        Returns:
            Whether it was there, as it was read, and lent to nobody; False leaves everything as it is.
        """
        raise self.capabilities.without_memory("reschedule()")

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        """Return the keys that are taken and begin like this, in alphabetical order, at most so many.

        Beyond the limit which of them are returned is not said.
        """
        raise self.capabilities.without_memory("unique_keys()")

    async def clear_unique(self, key: str) -> bool:
        """Give back a key, whatever becomes of the call that has it. Returns whether it was taken."""
        raise self.capabilities.without_memory("clear_unique()")

    @abstractmethod
    async def release(self, names: Sequence[str]) -> int:
        """Reclaim at once what these consumers hold, whose process is known to be dead. Returns how many messages.

        Their crashes are certain: none of them can be taken back.
        """

    @abstractmethod
    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        """Return the counts of each queue; all zero for one that was never used."""

    @abstractmethod
    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        """Return of each queue the bodies of those that have been ready for longest: one at least of each priority.

        Costs the server no more when a million wait.
        """

    @abstractmethod
    async def known_queues(self) -> Sequence[str]:
        """Return the queues that were ever published to, as far as is remembered, in alphabetical order."""

    @abstractmethod
    async def members(self) -> Sequence[Member]:
        """Return the consumers, in alphabetical order."""

    def timetable(self) -> Timetable:
        """Return what remembers schedules. It does not connect, and is used while this is open.

        Raises:
            NotSupported: nothing does.
        """
        raise self.capabilities.without_memory("Schedules")

    @abstractmethod
    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        """Return the newest dead letters of a queue, newest first.

        Args:
            queue: its name.
            limit: how many at most.
            before: only those that died before the one with this `DeadLetter.place`: the next page.
        """

    @abstractmethod
    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Return the dead letter of each id; None: the queue has none."""

    @abstractmethod
    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        """Forget dead letters of one queue. Returns for each whether it was still there."""

    @abstractmethod
    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        """Let dead letters of one queue run again: each in one atomic step.

        The letter goes, and so does the result that its death has left, so that the id is the new run's; the message
        becomes ready behind all that are, with no crash on its count, however long the queue may be. Without a memory
        no id is ever taken, and no result kept.
        """
