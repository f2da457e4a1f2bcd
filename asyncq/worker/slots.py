"""Slots: how many tasks run at once, in all, per queue and per task."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping


class Slots:
    """The slots of one worker process. They outlast its memberships, as a thread does that nobody can stop.

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
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._returning: deque[tuple[str, Callable[[], None]]] = deque()
        self._line: deque[tuple[str, Callable[[], None]]] = deque()
        self._is_admitting = False
        self._has_freed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many deliveries would start at once. Those that stand in line count as started."""
        return self.total - self.used - len(self._line) - len(self._returning)

    def free_by_queue(self) -> dict[str, int]:
        """Return how many deliveries of each queue would start at once."""
        return {queue: max(0, limit - self._used_by[queue]) for queue, limit in self._limits.items()}

    async def wait_free(self) -> int:
        """Wait until some slot is free; return how many are."""
        while self.free <= 0:
            await self.wait_freed()
        return self.free

    def tell_freed(self) -> None:
        """Wake who waits until a slot is given back or lent."""
        self._has_freed.set()

    async def wait_freed(self) -> None:
        """Wait until a slot is given back or lent, or would be: a run has ended, or waits for another task."""
        self._has_freed.clear()
        await self._has_freed.wait()

    def enter(self, queue: str, start: Callable[[], None]) -> bool:
        """Take a slot and call `start`, now or when one is free; return whether now. `start` may leave at once."""
        if not self._fits(queue):
            self._line.append((queue, start))
            return False
        self.used += 1
        self._used_by[queue] += 1
        start()
        return True

    def leave(self, queue: str) -> None:
        """Give a slot back."""
        self.used -= 1
        self._used_by[queue] -= 1
        if self._line or self._returning:
            self._admit()
        self._has_freed.set()

    def tell(self) -> None:
        """Wake who waits for a slot: a run has ended whose slot was given back before, or is kept by its thread."""
        self._has_freed.set()

    def turns(self, task: str, limit: int) -> asyncio.Semaphore:
        """Return the turns that the runs of a task take: so many at once."""
        return self._turns.setdefault(task, asyncio.Semaphore(limit))

    def forget_line(self) -> None:
        """Let nobody start any more who stands in line: these deliveries were handed back, or are others' now."""
        self._line.clear()

    def lend(self, queue: str) -> bool:
        """Give a slot back while its run waits for another task; False when too many do."""
        if self.waiting >= self._max_waiting:
            self._has_freed.set()
            return False
        self.waiting += 1
        self.leave(queue)
        return True

    async def take_back(self, queue: str) -> None:
        """Wait for a slot again, ahead of all deliveries. Also when cancelled the slot is taken: its run still ends."""
        if self._fits(queue):
            self.take_back_at_once(queue)
            return
        self.waiting -= 1
        admitted = asyncio.get_running_loop().create_future()
        entry = (queue, lambda: None if admitted.done() else admitted.set_result(None))
        self._returning.append(entry)
        try:
            await admitted
        except asyncio.CancelledError:
            if entry in self._returning:  # the run is ending: it goes over the limit rather than wait for its turn
                self._returning.remove(entry)
                self._take(queue)
            raise

    def take_back_at_once(self, queue: str) -> None:
        """Take a slot again, over the limit if need be: for a run that is ending."""
        self.waiting -= 1
        self._take(queue)

    def write_off(self) -> None:
        """Forget that a slot was lent: its run has ended meanwhile."""
        self.waiting -= 1

    def _fits(self, queue: str) -> bool:
        return self.used < self.total and self._used_by[queue] < self._limits[queue]

    def _take(self, queue: str) -> None:
        self.used += 1
        self._used_by[queue] += 1

    def _admit(self) -> None:
        if self._is_admitting:  # by who was just admitted and left at once: the loop below goes on
            return
        self._is_admitting = True
        try:
            while (entry := self._next_in(self._returning) or self._next_in(self._line)) is not None:
                queue, start = entry
                self._take(queue)
                start()
        finally:
            self._is_admitting = False

    def _next_in(self, line: deque[tuple[str, Callable[[], None]]]) -> tuple[str, Callable[[], None]] | None:
        """Take the first out of the line whose queue has a slot for it."""
        if self.used < self.total:
            for entry in line:
                if self._fits(entry[0]):
                    line.remove(entry)
                    return entry
        return None


class SlotLoan:
    """The slot of one run, and its turn among the runs of its task: lent while the run waits for other tasks.

    However many it waits for at a time, and whatever it leaves behind waiting when it ends, it has one slot or none.

    Attributes:
        has_ended: its run has ended, and no thread keeps the slot.
        gives_way: it waits for what may be a suspect, which runs beside no other.
    """

    # Of each task one is made, and most have nothing to lend: what stands here is not set for each.
    _turn: asyncio.Semaphore | None = None
    _waits = 0
    _has_turn = False
    _is_lent = False
    _is_returning = False
    has_ended = False
    gives_way = False
    _is_kept = False
    _ends_with_thread = False

    def __init__(self, slots: Slots, queue: str) -> None:
        self._slots = slots
        self._queue = queue

    @property
    def has_slot(self) -> bool:
        """Whether it has a slot just now: none is lent, or given back."""
        return not self._is_lent and not self.has_ended

    def keep(self) -> None:
        """Let the slot outlast the run, until `let_go`: its thread goes on."""
        self._is_kept = True

    def let_go(self) -> None:
        """The thread has ended, before its run or after it."""
        self._is_kept = False
        if self._ends_with_thread:
            self.end()

    async def take_turn(self, turn: asyncio.Semaphore) -> None:
        """Wait for a turn, which is given back and lent with the slot. Who has one has a slot: so it comes free."""
        await turn.acquire()
        self._turn = turn
        self._has_turn = True

    def lend(self) -> None:
        """Let another task run in the slot, until this has been taken back as often as it was lent."""
        self._waits += 1
        if not self._is_lent:
            self._lend()

    def give_way(self) -> None:
        """Let a suspect be fetched until this has been taken back, though the run is one itself."""
        if self._waits:
            self.gives_way = True
            self._slots.tell_freed()

    async def take_back(self) -> None:
        """Wait until there is a slot for the run again, and its turn."""
        self._end_wait()
        if self._waits or not self._is_lent or self._is_returning:
            return
        self._is_returning = True
        try:
            await self._slots.take_back(self._queue)
            if self._turn is not None:
                await self.take_turn(self._turn)
        finally:
            self._is_returning = self._is_lent = False
            if self.has_ended:
                self._give_back()
            elif self._waits:  # another wait has begun meanwhile
                self._lend()

    def take_back_at_once(self) -> None:
        """Take a slot for the run without waiting for one, over the limit if need be: it is being cancelled."""
        self._end_wait()
        if not self._waits and self._is_lent and not self._is_returning:
            self._is_lent = False
            self._slots.take_back_at_once(self._queue)

    def end(self) -> None:
        """Give back what the run has. What it leaves behind waiting lends and takes nothing any more."""
        if self._is_kept:
            self._ends_with_thread = True
            return
        self.has_ended = True
        if not self._is_returning:
            self._give_back()

    def _end_wait(self) -> None:
        self._waits -= 1
        if not self._waits:
            self.gives_way = False

    def _lend(self) -> None:
        if not self.has_ended and self._slots.lend(self._queue):
            self._is_lent = True
            self._give_turn_back()

    def _give_back(self) -> None:
        if self._has_turn:
            self._give_turn_back()
        if self._is_lent:
            self._is_lent = False
            self._slots.write_off()
        else:
            self._slots.leave(self._queue)

    def _give_turn_back(self) -> None:
        if self._has_turn and self._turn is not None:
            self._has_turn = False
            self._turn.release()
