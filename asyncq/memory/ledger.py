"""The ledger within one process."""

from collections.abc import Mapping, Sequence

from asyncq.errors import LeaseLost
from asyncq.ledger import ClaimReceipt, Copy, Held, Holder, Ledger, Parked, Turns, Verdict
from asyncq.limits import LimitOffice
from asyncq.memory.book import Book
from asyncq.memory.line import Member as Entrant
from asyncq.memory.membership import MemoryMembership, release, seen
from asyncq.memory.office import MemoryLimits
from asyncq.memory.state import MemoryState
from asyncq.memory.timetable import MemoryTimetable
from asyncq.transport import Envelope, KeyOwner, Member, Outcome, Revival, Settlement, Timetable
from asyncq.turns import pass_turns


class MemoryHolder(MemoryMembership, Holder):
    """A member, in the hands of the loop on which it joined."""

    def __init__(self, state: MemoryState, book: Book, member: Entrant) -> None:
        super().__init__(state, book, member)
        self._book = book

    async def take(self, copies: Sequence[Copy], *, suspects: int = 1) -> Sequence[Verdict]:
        await pass_turns()  # nothing here waits: a busy worker would block its loop
        with self._state.lock:
            self._check()
            return self._book.take(self._member, copies, suspects, self._state.now_ms())

    async def line_up(self, copies: Sequence[Copy]) -> Sequence[Held | Parked | None]:
        await pass_turns()
        with self._state.lock:
            self._check()
            now_ms = self._state.now_ms()
            return [self._book.line_up(copy, now_ms) for copy in copies]

    async def take_turns(self, limits: Mapping[str, int], count: int, *, suspects: int = 1) -> Turns:
        with self._state.lock:
            self._check()
            self._member.bell.clear()  # before the look, so that what comes after it is not slept through
            return self._book.take_turns(self._member, limits, count, suspects, self._state.now_ms())

    async def called(self, queues: Sequence[str], seconds: float) -> bool:
        await self._member.bell.wait(seconds)
        return True

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        now_ms = self._state.now_ms()
        with self._state.lock:
            return [self._book.settle(self._member, settlement, now_ms) for settlement in settlements]

    def _check(self) -> None:
        if self.name not in self._book.members:
            raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")


class MemoryLedger(Ledger):
    """Knows the calls of a transport that only moves them, as long as the process lives.

    Args:
        state: where everything is kept.
        namespace: the store's; no memory transport's.
    """

    def __init__(self, state: MemoryState, *, namespace: str) -> None:
        self._state = state
        self._book = state.book(namespace)
        self._space = self._book.space

    async def open(self) -> None:
        self._space.belong_to("ledger")

    async def close(self) -> None:
        """Do nothing: what is known stays in the state."""

    def now_ms(self) -> int:
        return self._state.now_ms()

    async def note(self, envelopes: Sequence[Envelope]) -> None:
        with self._state.lock:
            now_ms = self._state.now_ms()
            for envelope in envelopes:
                self._book.note(envelope, now_ms)

    async def claim(self, envelopes: Sequence[Envelope], *, ttl_ms: int) -> Sequence[ClaimReceipt]:
        with self._state.lock:
            now_ms = self._state.now_ms()
            return [self._book.claim(envelope, ttl_ms, now_ms) for envelope in envelopes]

    async def strike(self, envelopes: Sequence[Envelope]) -> None:
        with self._state.lock:
            now_ms = self._state.now_ms()
            for envelope in envelopes:
                self._book.strike(envelope, now_ms)

    async def holder(self, name: str, queues: Sequence[str], *, lease: float) -> MemoryHolder:
        with self._state.lock:
            member = self._space.join(name, queues, round(lease * 1000), self._state.now_ms())
        return MemoryHolder(self._state, self._book, member)

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        with self._state.lock:
            return self._book.withdraw(id, queue, outcome, self._state.now_ms(), even_running=even_running)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, priority: int, expires_ms: int = 0
    ) -> Copy | None:
        with self._state.lock:
            now_ms = self._state.now_ms()
            return self._book.reschedule(id, queue, read, body, due_ms, priority, expires_ms, now_ms)

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        with self._state.lock:
            return self._space.uniques.keys(prefix, limit, self._state.now_ms())

    async def clear_unique(self, key: str) -> bool:
        with self._state.lock:
            return self._space.uniques.clear(key, self._state.now_ms())

    async def release(self, names: Sequence[str]) -> int:
        with self._state.lock:
            return release(self._book, names)

    async def orphans(self, limit: int) -> Sequence[Copy]:
        with self._state.lock:
            return self._book.orphans(limit)

    async def placed(self, copies: Sequence[Copy]) -> None:
        with self._state.lock:
            for copy in copies:
                self._book.placed(copy)

    async def reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        with self._state.lock:
            now_ms = self._state.now_ms()
            return [self._book.reopen(revival, now_ms) for revival in revivals]

    async def running(self, queues: Sequence[str]) -> Sequence[int]:
        with self._state.lock:
            return [self._space.lines.counts(queue, self._state.now_ms()).running for queue in queues]

    async def scheduled(self, queues: Sequence[str]) -> Sequence[int]:
        with self._state.lock:
            return [self._space.lines.counts(queue, self._state.now_ms()).scheduled for queue in queues]

    async def parked(self, queues: Sequence[str]) -> Sequence[int]:
        with self._state.lock:
            return [self._space.lines.counts(queue, self._state.now_ms()).waiting for queue in queues]

    def limits(self) -> LimitOffice:
        return MemoryLimits(self._state, self._space)

    async def known_queues(self) -> Sequence[str]:
        with self._state.lock:
            return self._space.lines.queues()

    def timetable(self) -> Timetable:
        return MemoryTimetable(self._state, self._space)

    async def members(self) -> Sequence[Member]:
        with self._state.lock:
            return seen(self._space.members.values())
