"""The consumer within one process, and its lease."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from asyncq.errors import LeaseLost
from asyncq.memory.line import Member
from asyncq.memory.space import Space
from asyncq.memory.state import MemoryState
from asyncq.transport import Consumer, Delivery, Departure, Lease, Settlement

MAX_NAP = 60.0
"""Seconds until a waiting fetch looks at the clock again: the loop's own stands still while a machine is suspended."""


class MemoryConsumer(Consumer):
    """A member, in the hands of the loop on which it joined."""

    def __init__(self, state: MemoryState, space: Space, member: Member, dead_cap: int) -> None:
        self.name = member.name
        self._state = state
        self._space = space
        self._member = member
        self._dead_cap = dead_cap
        self._is_interrupted = False

    @property
    def answered_at(self) -> float:
        return time.monotonic()  # there is nobody who could fail to answer

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Tell what is severed until cancelled; a waiting fetch sets its own timer."""
        while True:
            await self._member.severing.wait(None)
            with self._state.lock:
                self._member.severing.clear()
                tokens, self._member.severed = self._member.severed, []
            severed(tokens)

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        await asyncio.sleep(0)  # a worker that always finds something must let others run
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

    async def absolve(self) -> None:
        with self._state.lock:
            self._space.absolve(self.name)

    def lease(self) -> "MemoryLease":
        return MemoryLease(self._state, self._space, self._member)

    async def leave(self) -> int:
        with self._state.lock:
            return self._space.dismiss(self._member, how=Departure.LEFT)

    def _take(self, limits: Mapping[str, int], count: int, suspects: int, now_ms: int) -> list[Delivery]:
        if self.name not in self._space.members:
            raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
        return self._space.take(self._member, limits, count, suspects, now_ms)

    def _nap(self, limits: Mapping[str, int], now_ms: int) -> float | None:
        """Return the seconds after which waiting is in vain, None while only a bell can change anything."""
        due_ms = self._space.next_due_ms(queue for queue, limit in limits.items() if limit > 0)
        if due_ms is None or self._state.is_moved_by_hand:
            return None
        return min((due_ms - now_ms) / 1000, MAX_NAP)


class MemoryLease(Lease):
    """A member's lease."""

    def __init__(self, state: MemoryState, space: Space, member: Member) -> None:
        self._state = state
        self._space = space
        self._member = member

    def renew(self, about: bytes | None = None) -> bool:
        with self._state.lock:
            if about is not None:
                self._member.about = about
            self._member.ends_ms = self._state.now_ms() + self._member.lease_ms
            return self._member.name in self._space.members

    def next_end(self) -> float | None:
        with self._state.lock:
            ends = [member.ends_ms for member in self._others()]
            return (min(ends) - self._state.now_ms()) / 1000 if ends else None

    def reclaim(self) -> Mapping[str, int]:
        with self._state.lock:
            now_ms = self._state.now_ms()
            expired = [member for member in self._others() if member.ends_ms <= now_ms]
            return {member.name: self._space.dismiss(member, how=Departure.SILENT) for member in expired}

    def close(self) -> None:
        """Do nothing: the thread was given nothing of its own."""

    def _others(self) -> list[Member]:
        return [member for member in self._space.members.values() if member is not self._member]
