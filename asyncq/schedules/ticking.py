"""The ticking: what a scheduler does about a schedule that is due. Decided here, done by the timetable."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from asyncq.message import encode_message
from asyncq.schedules.instants import instant_at, ms_of
from asyncq.schedules.plan import Plan, encode_plan, next_ms_of
from asyncq.schedules.schedule import Schedule
from asyncq.transport import Change, Entry, Envelope

PUNCTUAL_MS: Final = 1_000
"""A tick that is later than that was missed: what follows depends on `catch_up`."""

_GROWTH: Final = 4


class Ticks(NamedTuple):
    """What is to be made of a plan that is due.

    Attributes:
        run: ticks to publish, in order.
        next_ms: the tick after them, which may be past too.
        are_some_missed: whether there were others, which are not made up for.
    """

    run: Sequence[datetime]
    next_ms: int | None
    are_some_missed: bool


def ticks_due(plan: Plan, now_ms: int, most: int) -> Ticks:
    """Return the ticks of a plan that is due which are to be published, at most so many."""
    now, first = instant_at(now_ms), instant_at(plan.next_ms or 0)
    if now is None or first is None:
        return Ticks((), None, are_some_missed=False)
    leeway_ms = PUNCTUAL_MS if plan.catch_up == "skip" else max(PUNCTUAL_MS, round(plan.grace * 1000))
    cutoff = now - timedelta(milliseconds=min(leeway_ms, now_ms))
    schedule = plan.schedule
    if plan.catch_up == "all":
        run = _all_ticks(schedule, first, cutoff, now, most)
        after_ms = ms_of(run[-1] if run else now)
        return Ticks(run, next_ms_of(schedule, after_ms), are_some_missed=first <= cutoff)
    latest = _latest_tick(schedule, max(first, cutoff), now) or (first if first > cutoff else None)
    run = () if latest is None else (latest,)
    return Ticks(run, next_ms_of(schedule, now_ms), are_some_missed=latest != first)


def firing(entry: Entry, plan: Plan, ticks: Ticks, now_ms: int) -> Change:
    """Return the change that publishes ticks, and moves the plan on."""
    envelopes = [envelope_of(entry.name, plan, tick, now_ms) for tick in ticks.run]
    moved = msgspec.structs.replace(plan, next_ms=ticks.next_ms, runs=plan.runs + len(envelopes))
    if envelopes:
        last_ms, last_id = ms_of(ticks.run[-1]), envelopes[-1].id
        moved = msgspec.structs.replace(moved, last_ms=last_ms, last_id=last_id, last_queue=envelopes[-1].queue)
    return _changed(entry, moved, envelopes)


def passing(entry: Entry, plan: Plan, ticks: Ticks) -> Change:
    """Return the change that passes over ticks, because the call before has not ended."""
    passed = plan.passed + len(ticks.run)
    return _changed(
        entry,
        msgspec.structs.replace(plan, next_ms=ticks.next_ms, last_ms=ms_of(ticks.run[-1]), passed=passed),
    )


def envelope_of(name: str, plan: Plan, tick: datetime, now_ms: int) -> Envelope:
    """Return the call of a tick. Its id is made of name and tick, so that it is the same whoever publishes it."""
    due_ms = ms_of(plan.schedule.due_at(tick, name))
    call = plan.call
    message = msgspec.structs.replace(
        call,
        id=id_of(name, ms_of(tick)),
        enqueued_ms=now_ms,
        due_ms=due_ms,
        expires_ms=due_ms + call.expires_ms if call.expires_ms else 0,
    )
    return Envelope(message.id, message.queue, encode_message(message), message.priority, due_ms)


def id_of(name: str, tick_ms: int) -> str:
    """Return the id of the call of a tick."""
    return f"{name}@{tick_ms}"


def _changed(entry: Entry, plan: Plan, envelopes: Sequence[Envelope] = ()) -> Change:
    is_over = plan.next_ms is None and not plan.is_declared  # nothing would ever remove it
    record = None if is_over else encode_plan(plan)
    return Change(entry.name, entry.record, record, plan.next_ms, envelopes)


def _all_ticks(schedule: Schedule, first: datetime, cutoff: datetime, now: datetime, most: int) -> Sequence[datetime]:
    ticks: list[datetime] = []
    tick = first if first > cutoff else schedule.next_after(cutoff)
    while tick is not None and tick <= now and len(ticks) < most:
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


def _latest_tick(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """Return the last tick after one time and no later than another; None: there is none.

    Looks back further and further, so that nobody walks through all the ticks of a long outage.
    """
    width = timedelta(milliseconds=PUNCTUAL_MS)
    while True:
        start = max(after, until - width) if until - after > width else after
        tick = schedule.next_after(start)
        if tick is not None and tick <= until:
            break
        if start == after:
            return None
        width *= _GROWTH
    while (following := schedule.next_after(tick)) is not None and following <= until:
        tick = following
    return tick
