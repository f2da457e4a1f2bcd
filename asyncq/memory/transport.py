"""The transport within one process."""

from collections.abc import Sequence

from asyncq.limits import LimitOffice
from asyncq.memory.consumer import MemoryConsumer
from asyncq.memory.membership import release, seen
from asyncq.memory.office import MemoryLimits
from asyncq.memory.state import MemoryState
from asyncq.memory.timetable import MemoryTimetable
from asyncq.queues import Queue
from asyncq.transport import (
    Capabilities,
    Counts,
    DeadLetter,
    Envelope,
    KeyOwner,
    Member,
    Outcome,
    Receipt,
    Revival,
    Revived,
    Timetable,
    Transport,
)
from asyncq.turns import pass_turns


class MemoryTransport(Transport):
    """Moves messages within one process; what it holds ends with the process.

    Args:
        state: where everything is kept.
        namespace: what is published under another one is never seen. No ledger's.
        queues: declared queues; their `max_length` is kept to.
        dead_cap: dead letters that are kept of each queue; the oldest make room.
    """

    capabilities = Capabilities(
        is_shared=False, spans_machines=False, has_schedules=True, has_limits=True, has_groups=True
    )

    def __init__(
        self, state: MemoryState, *, namespace: str, queues: Sequence[Queue] = (), dead_cap: int = 10_000
    ) -> None:
        self._state = state
        self._space = state.space(namespace)
        self._max_lengths = {queue.name: queue.max_length for queue in queues}
        self._dead_cap = dead_cap

    async def open(self) -> None:
        self._space.belong_to("transport")

    async def close(self) -> None:
        """Do nothing: what is held stays in the state."""

    def now_ms(self) -> int:
        return self._state.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        await pass_turns()  # nothing here waits: a publisher would block its loop
        now_ms = self._state.now_ms()
        with self._state.lock:
            return [
                self._space.publish(envelope, self._max_lengths.get(envelope.queue), now_ms) for envelope in envelopes
            ]

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> MemoryConsumer:
        with self._state.lock:
            member = self._space.join(name, queues, round(lease * 1000), self._state.now_ms())
        return MemoryConsumer(self._state, self._space, member, self._dead_cap)

    def limits(self) -> LimitOffice:
        return MemoryLimits(self._state, self._space)

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        with self._state.lock:
            return self._space.withdraw(id, queue, outcome, self._state.now_ms(), even_running=even_running)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, expires_ms: int = 0
    ) -> bool:
        with self._state.lock:
            return self._space.reschedule(id, queue, read, body, due_ms, expires_ms, self._state.now_ms())

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        with self._state.lock:
            return self._space.uniques.keys(prefix, limit, self._state.now_ms())

    async def clear_unique(self, key: str) -> bool:
        with self._state.lock:
            return self._space.uniques.clear(key, self._state.now_ms())

    async def release(self, names: Sequence[str]) -> int:
        with self._state.lock:
            return release(self._space, names)

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        with self._state.lock:
            return [self._space.lines.counts(queue, self._state.now_ms()) for queue in queues]

    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        with self._state.lock:
            return [self._space.lines.first_in_line(queue, self._state.now_ms()) for queue in queues]

    async def known_queues(self) -> Sequence[str]:
        with self._state.lock:
            return self._space.lines.queues()

    async def members(self) -> Sequence[Member]:
        with self._state.lock:
            return seen(self._space.members.values())

    def timetable(self) -> Timetable:
        return MemoryTimetable(self._state, self._space, self._max_lengths)

    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        with self._state.lock:
            return self._space.lines.letters(queue).newest(limit, before, self._state.now_ms())

    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        with self._state.lock:
            return [self._space.lines.letters(queue).find(id, self._state.now_ms()) for id in ids]

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        with self._state.lock:
            return [self._space.lines.letters(letter.queue).drop(letter, self._state.now_ms()) for letter in letters]

    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        with self._state.lock:
            return [self._space.revive(revival, self._state.now_ms()) for revival in revivals]
