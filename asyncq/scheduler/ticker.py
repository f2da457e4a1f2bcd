"""The ticker: sleeps until a schedule is due, publishes its call, and moves it on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import NamedTuple

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, PublishRefused, ScheduleError
from asyncq.schedules.plan import Plan, decode_plan
from asyncq.schedules.ticking import Ticks, firing, passing, ticks_due
from asyncq.store import CallKey
from asyncq.transport import MAX_CALLS, Changed, Entry, Timetable

logger = logging.getLogger("asyncq.scheduler")

AT_ONCE = 100
"""Schedules that are looked at, and moved on, in one round trip."""

MAX_BYTES = 1_000_000
"""Of the calls of one schedule: a script holds up everybody else while it runs."""

LOOK_EVERY = 10.0
"""Seconds between two looks, in case that nobody could tell of a change."""

_AGAIN = Backoff(delay=0.2, max_delay=2.0)
_REFUSED = Backoff(delay=2.0, max_delay=60.0)


class _Due(NamedTuple):
    """A schedule that is due, and what is to be made of it."""

    entry: Entry
    plan: Plan
    ticks: Ticks


class Ticker:
    """Publishes ticks.

    Args:
        timetable: returns where schedules are kept.
        living: returns of calls whether they are known and have not ended.
        now_ms: tells the time.
    """

    def __init__(
        self,
        timetable: Callable[[], Awaitable[Timetable]],
        living: Callable[[Sequence[CallKey]], Awaitable[Sequence[bool]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._timetable = timetable
        self._living = living
        self._now_ms = now_ms
        self._has_changed = asyncio.Event()
        self._held_back: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._failures = 0
        self._random = Random()

    def look(self) -> None:
        """Look again at what is due: something may be earlier than was known."""
        self._has_changed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            self._has_changed.clear()
            try:
                seconds = await self._step()
            except BrokerUnavailable as error:
                self._failures += 1
                if self._failures in (1, 10) or self._failures % 100 == 0:
                    logger.warning("Cannot run schedules (%d times now); they will be late: %s", self._failures, error)
                await asyncio.sleep(_AGAIN.seconds(self._failures, self._random))
                continue
            if self._failures:
                logger.info("Running schedules again.")
                self._failures = 0
            if seconds > 0:
                await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._has_changed.set)
        try:
            await self._has_changed.wait()
        finally:
            timer.cancel()

    async def _step(self) -> float:
        """Move on what is due; return how many seconds there is nothing to do then."""
        timetable = await self._timetable()
        now = asyncio.get_running_loop().time()
        self._held_back = {name: until for name, until in self._held_back.items() if until > now}
        entries = await timetable.first(AT_ONCE + len(self._held_back))
        now_ms = self._now_ms()
        self._refusals = {entry.name: self._refusals[entry.name] for entry in entries if entry.name in self._refusals}
        waiting = [entry for entry in entries if entry.name not in self._held_back]
        due = [entry for entry in waiting if (entry.next_ms or 0) <= now_ms]
        if due:
            await self._move_on(timetable, due, now_ms)
            return 0.0
        times = [((entry.next_ms or 0) - now_ms) / 1000 for entry in waiting[:1]]
        return min([*times, *(until - now for until in self._held_back.values()), LOOK_EVERY])

    async def _move_on(self, timetable: Timetable, entries: Sequence[Entry], now_ms: int) -> None:
        most = max(1, MAX_CALLS // len(entries))
        due = [each for entry in entries if (each := self._read(entry, now_ms, most))]
        overlaps = await self._overlaps(due)
        changes = [
            passing(entry, plan, ticks) if entry.name in overlaps else firing(entry, plan, ticks, now_ms)
            for entry, plan, ticks in due
        ]
        for each, answer in zip(due, await timetable.change(changes), strict=True):
            if isinstance(answer, PublishRefused):
                self._note_refusal(each.entry.name, answer)
                continue
            self._refusals.pop(each.entry.name, None)
            if answer is Changed.DONE:
                _tell(each, is_passed=each.entry.name in overlaps)

    def _read(self, entry: Entry, now_ms: int, most: int) -> _Due | None:
        """Return what is to be made of a schedule; None: it cannot be read, and is left alone for a while."""
        most = 1 if entry.name in self._refusals else most  # there may be room for one
        most = max(1, min(most, MAX_BYTES // max(1, len(entry.record))))
        try:
            plan = decode_plan(entry.record)
            return _Due(entry, plan, ticks_due(plan, now_ms, most))
        except ScheduleError as error:
            logger.warning("Schedule %r is passed over for a minute: %s", entry.name, error)
            self._hold_back(entry.name, 60.0)
            return None

    async def _overlaps(self, due: Sequence[_Due]) -> set[str]:
        """Return the names of those that have to pass over this tick, because the call of the last has not ended."""
        asked = [
            (entry.name, CallKey(plan.last_id, plan.last_queue))
            for entry, plan, ticks in due
            if ticks.run and plan.last_id and not plan.overlap
        ]
        if not asked:
            return set()
        lives = await self._living([key for _, key in asked])
        return {name for (name, _), is_alive in zip(asked, lives, strict=True) if is_alive}

    def _note_refusal(self, name: str, refusal: PublishRefused) -> None:
        failures = self._refusals[name] = self._refusals.get(name, 0) + 1
        if failures == 1:
            logger.warning("Schedule %r cannot publish yet, and will be late: %s", name, refusal)
        self._hold_back(name, _REFUSED.seconds(failures, self._random))

    def _hold_back(self, name: str, seconds: float) -> None:
        self._held_back[name] = asyncio.get_running_loop().time() + seconds


def _tell(due: _Due, *, is_passed: bool) -> None:
    (name, _, _), plan, ticks = due
    if ticks.are_some_missed:
        made_up = f"{len(ticks.run)} run now" if ticks.run else "none is made up for"
        logger.warning("Schedule %r has missed ticks (catch_up=%r): %s.", name, plan.catch_up, made_up)
    if is_passed:
        logger.info("Schedule %r passes over a tick: call %s has not ended.", name, plan.last_id)
    else:
        logger.debug("Schedule %r has published %d calls.", name, len(ticks.run))
