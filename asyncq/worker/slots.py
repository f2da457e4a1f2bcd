"""Slots: how many tasks run at once, in all and per queue."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping


class Slots:
    """The slots of one worker process.

    Who finds none free stands in a line: those who take back a lent slot first, then deliveries in order. A queue
    that is at its own limit is passed over, not waited for.

    Args:
        total: slots in all.
        limits: slots per queue; None: as many as there are.
        max_waiting: runs that may have lent their slot at a time; further ones keep theirs.
    """

    def __init__(self, total: int, limits: Mapping[str, int | None], *, max_waiting: int) -> None:
        self.total = total
        self.used = 0
        self.waiting = 0
        self._max_waiting = max_waiting
        self._limits = {queue: limit or total for queue, limit in limits.items()}
        self._used_by = dict.fromkeys(limits, 0)
        self._line: deque[tuple[str, Callable[[], None]]] = deque()
        self._has_free = asyncio.Event()
        self._has_free.set()

    @property
    def free(self) -> int:
        """How many deliveries would start at once. Those that stand in line count as started."""
        return self.total - self.used - len(self._line)

    def free_by_queue(self) -> dict[str, int]:
        """Return how many deliveries of each queue would start at once."""
        return {queue: max(0, limit - self._used_by[queue]) for queue, limit in self._limits.items()}

    async def wait_free(self) -> int:
        """Wait until some slot is free; return how many are."""
        while self.free <= 0:
            self._has_free.clear()
            await self._has_free.wait()
        return self.free

    def enter(self, queue: str, start: Callable[[], None]) -> None:
        """Take a slot and call `start`, now or when one is free."""
        if self._fits(queue):
            self.used += 1
            self._used_by[queue] += 1
            start()
        else:
            self._line.append((queue, start))

    def leave(self, queue: str) -> None:
        """Give a slot back."""
        self.used -= 1
        self._used_by[queue] -= 1
        if self._line:
            self._admit()
        self._has_free.set()

    def lend(self, queue: str) -> bool:
        """Give a slot back while its run waits for another task; False when too many do."""
        if self.waiting >= self._max_waiting:
            return False
        self.waiting += 1
        self.leave(queue)
        return True

    async def take_back(self, queue: str) -> None:
        """Wait for a slot again, ahead of all deliveries. Also when cancelled the slot is taken: its run still ends."""
        self.waiting -= 1
        if self._fits(queue):
            self.used += 1
            self._used_by[queue] += 1
            return
        admitted = asyncio.get_running_loop().create_future()
        entry = (queue, lambda: None if admitted.done() else admitted.set_result(None))
        self._line.appendleft(entry)
        try:
            await admitted
        except asyncio.CancelledError:
            if entry in self._line:  # the run is ending: it goes over the limit rather than wait for its turn
                self._line.remove(entry)
                self.used += 1
                self._used_by[queue] += 1
            raise

    def _fits(self, queue: str) -> bool:
        return self.used < self.total and self._used_by[queue] < self._limits[queue]

    def _admit(self) -> None:
        for entry in list(self._line):
            queue, start = entry
            if self._fits(queue):
                self._line.remove(entry)
                self.used += 1
                self._used_by[queue] += 1
                start()
            if self.used >= self.total:
                return
