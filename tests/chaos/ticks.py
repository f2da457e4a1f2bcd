"""The ticks: a schedule beside the calls, whose ids are known before it ticks, so that somebody can wait for them."""

import time
from datetime import UTC, datetime
from pathlib import Path

from asyncq import Every
from tests.chaos.calls import Call, Kind
from tests.chaos.journal import Journal
from tests.chaos.site import Site

NAME = "ticks"
"""Of the schedule, and of the journal that tells of its calls as a producer's does."""

TICK = 1.0
"""Seconds between two ticks."""


class Ticks:
    """A call every so many seconds, from a moment on.

    Args:
        begin: when the first is due, by the machine's monotonic clock.
        count: how many.

    Attributes:
        calls: those that they are, by id.
    """

    def __init__(self, begin: float, count: int) -> None:
        self._begin = begin
        self._count = count
        self._start_ms = round((time.time() + begin - time.monotonic()) * 1000)
        ids = [f"{NAME}@{self._start_ms + round(1000 * TICK * number)}" for number in range(count)]
        self.calls = {id: Call(id, Kind.TICK, 0, 0, 0) for id in ids}

    async def begin(self, site: Site, folder: Path) -> None:
        """Add the schedule, and tell who waits when each is due."""
        if not self.calls:
            return
        journal = Journal(folder / NAME)
        for number, id in enumerate(self.calls):
            journal.write("accepted", id=id, owner=id, at=self._begin + TICK * number)
        start = datetime.fromtimestamp(self._start_ms / 1000, UTC)
        async with site.broker() as broker:
            tick = broker.task(name="tests.chaos.app:tick")(_tick)
            await broker.schedules.add(tick, Every(TICK, name=NAME, start=start, count=self._count, catch_up="all"))


async def _tick() -> None:
    """What a tick is for who adds its schedule."""
