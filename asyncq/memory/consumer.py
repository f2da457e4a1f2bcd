"""The consumer within one process."""

import time
from collections.abc import Mapping, Sequence

from asyncq.errors import LeaseLost
from asyncq.memory.line import Member
from asyncq.memory.membership import MemoryMembership
from asyncq.memory.space import Space
from asyncq.memory.state import MemoryState
from asyncq.transport import Consumer, Delivery, Settlement
from asyncq.turns import pass_turns

MAX_NAP = 60.0
"""Seconds until a waiting fetch looks at the clock again: the loop's own stands still while a machine is suspended."""


class MemoryConsumer(MemoryMembership, Consumer):
    """A member, in the hands of the loop on which it joined."""

    def __init__(self, state: MemoryState, space: Space, member: Member, dead_cap: int) -> None:
        super().__init__(state, space, member)
        self._space = space
        self._dead_cap = dead_cap
        self._is_interrupted = False

    @property
    def answered_at(self) -> float:
        return time.monotonic()  # there is nobody who could fail to answer

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        await pass_turns()  # nothing here waits: a busy worker would block its loop
        while True:
            with self._state.lock:
                self._member.bell.clear()  # before the look, so that what comes after it is not slept through
                now_ms = self._state.now_ms()
                deliveries = self._take(limits, count, suspects, now_ms)
                nap = self._nap(limits, now_ms)
            if deliveries or not wait:
                return deliveries
            if self._is_interrupted:
                self._is_interrupted = False
                return []
            await self._member.bell.wait(nap)

    async def interrupt(self) -> None:
        self._is_interrupted = True
        with self._state.lock:
            self._member.bell.ring()

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        now_ms = self._state.now_ms()
        with self._state.lock:
            return [self._space.settle(self._member, settlement, self._dead_cap, now_ms) for settlement in settlements]

    def _take(self, limits: Mapping[str, int], count: int, suspects: int, now_ms: int) -> list[Delivery]:
        if self.name not in self._space.members:
            raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
        return self._space.take(self._member, limits, count, suspects, now_ms)

    def _nap(self, limits: Mapping[str, int], now_ms: int) -> float | None:
        """Return the seconds after which waiting is in vain, None while only a bell can change anything."""
        due_ms = self._space.lines.next_due_ms(queue for queue, limit in limits.items() if limit > 0)
        if due_ms is None or self._state.is_moved_by_hand:
            return None
        return min((due_ms - now_ms) / 1000, MAX_NAP)
