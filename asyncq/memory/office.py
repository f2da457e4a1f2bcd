"""The office of limits within one process."""

from collections.abc import Mapping, Sequence

from asyncq.limits import Asked, Kind, LimitId, LimitOffice, LimitState, Numbers
from asyncq.memory.home import Bell
from asyncq.memory.keyed import LimitKey
from asyncq.memory.space import Space
from asyncq.memory.state import MemoryState


class MemoryLimits(LimitOffice):
    """Limits of one namespace.

    Args:
        state: where everything is kept.
        space: the namespace's.
    """

    def __init__(self, state: MemoryState, space: Space) -> None:
        self._state = state
        self._space = space

    async def declare(self, numbers: Mapping[LimitId, Numbers], *, is_consumer: bool = True) -> None:
        with self._state.lock:
            self._space.lines.limiter.declare(numbers, is_consumer=is_consumer)
            self._space.lines.wake_all()

    async def change(self, id: LimitId, numbers: Numbers | None) -> None:
        with self._state.lock:
            self._space.lines.limiter.change(id, numbers)
            self._space.lines.wake_all()

    async def pause(self, id: LimitId, key: str | None, ms: int) -> None:
        with self._state.lock:
            now_ms = self._state.now_ms()
            self._space.lines.limiter.pause(id, key, now_ms + ms if ms else 0, now_ms)
            self._space.lines.wake_all()

    async def states(self) -> Sequence[LimitState]:
        with self._state.lock:
            return self._space.lines.limiter.states(self._state.now_ms())

    async def ask(self, id: LimitId, key: str, weight: int, waiter: str, lease_ms: int) -> Asked:
        of = LimitKey(id, key)
        with self._state.lock:
            now_ms = self._state.now_ms()
            waiters = self._space.lines.limiter.waiters
            if not waiters.is_first(of, waiter, now_ms + lease_ms, now_ms):
                waiters.listen(waiter, Bell)
                return Asked(False, lease_ms // 3)
            due_ms = self._space.lines.limiter.due_ms(of, weight, now_ms)
            if due_ms > now_ms:
                waiters.listen(waiter, Bell)
                return Asked(False, min(due_ms - now_ms, lease_ms // 3))
            self._space.lines.limiter.take(of, weight, waiter, now_ms + lease_ms, now_ms)
            waiters.leave(of, waiter)
            return Asked(True, 0)

    async def called(self, waiter: str, seconds: float) -> None:
        with self._state.lock:
            bell = self._space.lines.limiter.waiters.bell(waiter)
        if bell is not None:
            await bell.wait(seconds)
            with self._state.lock:
                bell.clear()

    async def renew(self, id: LimitId, key: str, waiter: str, lease_ms: int) -> bool:
        with self._state.lock:
            now_ms = self._state.now_ms()
            return self._space.lines.limiter.renew(LimitKey(id, key), waiter, now_ms + lease_ms, now_ms)

    async def leave(self, id: LimitId, key: str, waiter: str) -> bool:
        of = LimitKey(id, key)
        with self._state.lock:
            was_there = self._space.lines.limiter.waiters.leave(of, waiter)
            if id.kind is Kind.SLOTS and self._space.lines.limiter.free(of, waiter):
                self._space.lines.wake(of)
                return True
            return was_there
