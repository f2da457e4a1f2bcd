"""Recycling: a worker that has run so many tasks, or grown so large, says that it should be replaced."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from asyncq.worker.memory import resident_bytes

LOOK_SECONDS = 1.0
"""How often memory is measured; that takes some 20 us."""

GROWTH = 1.1
"""How much larger a process may get that was over its limit from the start."""

MEGABYTE = 1024 * 1024

T = TypeVar("T")

logger = logging.getLogger("asyncq.worker")


class Recycler:
    """Counts what ends in a worker, measures its memory, and says once that the limit is reached.

    Args:
        max_tasks: how many runs may end; None: any number.
        max_memory: how many megabytes may be resident; None: any number.
        spent: called once, on the loop's thread.
    """

    def __init__(self, *, max_tasks: int | None, max_memory: float | None, spent: Callable[[], None]) -> None:
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._spent = spent
        self._ended = 0
        self._is_spent = False

    def counted(self, settle: Callable[[T], None]) -> Callable[[T], None]:
        """Return a function that settles and counts; `settle` itself where nobody wants to know."""
        if self._max_tasks is None:
            return settle

        def settle_and_count(settlement: T) -> None:
            settle(settlement)
            self._ended += 1
            if self._ended == self._max_tasks:
                self._say(f"{self._ended:,} tasks have run (--max-tasks-per-child {self._max_tasks})")

        return settle_and_count

    async def run(self) -> None:
        """Measure until cancelled, or until it is said."""
        if self._max_memory is None:
            return
        limit = self._limit_above(resident_bytes() / MEGABYTE, self._max_memory)
        while not self._is_spent:
            used = resident_bytes() / MEGABYTE
            if used > limit:
                self._say(f"{used:,.0f} MB are in use (--max-memory-per-child {self._max_memory:g})")
            await asyncio.sleep(LOOK_SECONDS)

    def _limit_above(self, at_rest: float, limit: float) -> float:
        """Return a limit that a process does not reach by starting: its successors would do no better, for ever."""
        if at_rest <= limit:
            return limit
        logger.warning(
            "This worker process has %.0f MB in memory before it has run anything, more than it may have "
            "(--max-memory-per-child %g). It will be replaced when it has %.0f MB.",
            at_rest,
            limit,
            at_rest * GROWTH,
        )
        return at_rest * GROWTH

    def _say(self, reason: str) -> None:
        if not self._is_spent:
            self._is_spent = True
            logger.info("This worker process is to be replaced: %s.", reason)
            self._spent()
