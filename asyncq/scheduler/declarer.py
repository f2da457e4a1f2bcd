"""The declarer: keeps the timetable to what the code says, also where several versions of it run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, ScheduleError
from asyncq.schedules.plan import Plan, decode_plan, encode_plan, replanned
from asyncq.transport import Change, Changed, Entry, Timetable

logger = logging.getLogger("asyncq.scheduler")

_AGAIN = Backoff(delay=0.2, max_delay=5.0)


class Declarer:
    """Writes the schedules of the code, and says every third of a lease that they stand there.

    What is gone by then, because the server was emptied, is written again. Of two versions of a schedule, that of the
    scheduler which has started last holds. One that nobody has declared for a lease is removed; by who has itself been
    heard for as long, so that after an outage everybody gets to declare first.

    Args:
        plans: of the code, by name.
        timetable: returns where they are kept.
        now_ms: tells the time that new ticks come after.
        lease: seconds.

    Attributes:
        declared: set when all of them are written.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        timetable: Callable[[], Awaitable[Timetable]],
        now_ms: Callable[[], int],
        *,
        lease: float,
    ) -> None:
        self._plans = plans
        self._timetable = timetable
        self._now_ms = now_ms
        self._lease = lease
        self._heard_since: float | None = None
        self._failures = 0
        self._random = Random()
        self.declared = asyncio.Event()

    async def run(self) -> None:
        """Declare until cancelled."""
        while True:
            try:
                await self._declare()
            except BrokerUnavailable as error:
                self._heard_since = None
                self._failures += 1
                if self._failures in (1, 10) or self._failures % 100 == 0:
                    logger.warning("Cannot declare schedules (%d times now): %s", self._failures, error)
                await asyncio.sleep(_AGAIN.seconds(self._failures, self._random))
            else:
                self._failures = 0
                self.declared.set()
                await asyncio.sleep(self._lease / 3)

    async def _declare(self) -> None:
        timetable = await self._timetable()
        now, now_ms = asyncio.get_running_loop().time(), timetable.now_ms()
        if self._heard_since is None:
            self._heard_since = now
        has_been_heard = now - self._heard_since >= self._lease
        missing = await timetable.declare(
            list(self._plans),
            until_ms=now_ms + round(self._lease * 1000),
            lapsed_ms=now_ms if has_been_heard else None,
        )
        await self._write(timetable, missing if self.declared.is_set() else self._plans)

    async def _write(self, timetable: Timetable, names: Iterable[str]) -> None:
        wanted = list(names)
        while wanted:
            entries = zip(wanted, await timetable.find(wanted), strict=True)
            changes = [change for name, entry in entries if (change := self._change(name, entry))]
            answers = await timetable.change(changes)
            stale: list[str] = []
            for change, answer in zip(changes, answers, strict=True):
                if answer is Changed.STALE:
                    stale.append(change.name)
                elif not isinstance(answer, Changed):
                    raise BrokerUnavailable(f"Schedule {change.name!r} could not be kept: {answer}")
            wanted = stale

    def _change(self, name: str, entry: Entry | None) -> Change | None:
        """Return what makes the timetable say what the code says; None: it does."""
        new, old = self._plans[name], None if entry is None else _read(entry)
        if old is not None and old.says_the_same(new):
            return None
        plan = replanned(new, old, self._now_ms())
        return Change(name, None if entry is None else entry.record, encode_plan(plan), plan.next_ms)


def _read(entry: Entry) -> Plan | None:
    try:
        return decode_plan(entry.record)
    except ScheduleError as error:
        logger.warning("Schedule %r is written anew, as the code says: %s", entry.name, error)
        return None
