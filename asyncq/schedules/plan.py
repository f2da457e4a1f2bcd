"""The plan: a schedule as it is kept, with the call that it makes and how it stands."""

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from asyncq.errors import ScheduleError
from asyncq.message import Message
from asyncq.schedules.instants import instant_at, ms_of
from asyncq.schedules.schedule import CatchUp, Schedule
from asyncq.schedules.stored import schedule_from_dict, schedule_to_dict

PLAN_VERSION: Final = 1
"""Raised when an older reader could misread a plan."""


MAX_SKEW_MS: Final = 60_000
"""By how much the clocks of a server and of its successor may differ."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a timetable keeps of a schedule.

    Attributes:
        v: version of the plan.
        form: the schedule's stored form.
        call: what is published at a tick, but for its id and its times; `expires_ms` counts from when it is due.
        catch_up, grace, overlap: as in `Schedule`.
        is_declared: it stands in the code; else it was added at run time.
        is_paused: it has no next tick until it is resumed.
        next_ms: the next tick; None: there is none.
        last_ms: the last tick that was published or passed over; None: none yet.
        last_id, last_queue: the call of the last tick that was published; empty: none was.
        runs: ticks that were published.
        passed: ticks that were passed over because the call before had not ended.
    """

    v: int
    form: msgspec.Raw
    call: Message
    catch_up: CatchUp = "one"
    grace: int | float = 3600
    overlap: bool = True
    is_declared: bool = False
    is_paused: bool = False
    next_ms: int | None = None
    last_ms: int | None = None
    last_id: str = ""
    last_queue: str = ""
    runs: int = 0
    passed: int = 0

    @property
    def schedule(self) -> Schedule:
        """The schedule, without arguments and policies. Raises ScheduleError."""
        return _schedule_of(bytes(self.form))

    def says_the_same(self, other: "Plan") -> bool:
        """Tell whether the other plan is of the same schedule, however both stand."""
        return _declared_part(self) == _declared_part(other)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Plan)


def new_plan(schedule: Schedule, call: Message, *, is_declared: bool) -> Plan:
    """Return the plan of a schedule that was never kept.

    Args:
        schedule: with its policies.
        call: as it would be published now.
        is_declared: it stands in the code.
    """
    lifetime_ms = call.expires_ms - max(call.enqueued_ms, call.due_ms) if call.expires_ms else 0
    template = msgspec.structs.replace(call, id="", reply="", enqueued_ms=0, due_ms=0, expires_ms=lifetime_ms)
    return Plan(
        v=PLAN_VERSION,
        form=msgspec.Raw(_encoder.encode(schedule_to_dict(schedule))),
        call=template,
        catch_up=schedule.catch_up,
        grace=schedule.grace,
        overlap=schedule.overlap,
        is_declared=is_declared,
    )


def encode_plan(plan: Plan) -> bytes:
    """Return the plan's JSON."""
    return _encoder.encode(plan)


def decode_plan(record: bytes) -> Plan:
    """Return the plan that these bytes hold. Raises ScheduleError."""
    try:
        plan = _decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ScheduleError(f"These {len(record)} bytes are no schedule of this asyncq: {error}.") from error
    if plan.v != PLAN_VERSION:
        raise ScheduleError(f"A kept schedule has version {plan.v}; this asyncq reads {PLAN_VERSION}. Upgrade it.")
    return plan


def replanned(new: Plan, old: Plan | None, now_ms: int) -> Plan:
    """Return a new plan in the place of the old one of its name, if there is one: it stands where that stood.

    The next tick stays if it is one of the new schedule too, also when it is late; else it is the first after now.
    """
    if old is None:
        return restarted(new, now_ms)
    standing = msgspec.structs.replace(
        new,
        is_paused=old.is_paused,
        next_ms=old.next_ms,
        last_ms=old.last_ms,
        last_id=old.last_id,
        last_queue=old.last_queue,
        runs=old.runs,
        passed=old.passed,
    )
    if old.next_ms is not None and is_tick(new.schedule, old.next_ms):
        return standing
    return standing if old.is_paused else restarted(standing, now_ms)


def paused(plan: Plan) -> Plan:
    """Return the plan without a next tick."""
    return msgspec.structs.replace(plan, is_paused=True, next_ms=None)


def restarted(plan: Plan, now_ms: int) -> Plan:
    """Return the plan with the first tick after now, and after the last that there was.

    A last tick far in the future was one by a clock that was wrong: it would keep the schedule still.
    """
    last_ms = 0 if plan.last_ms is None else plan.last_ms
    after_ms = last_ms if now_ms < last_ms <= now_ms + MAX_SKEW_MS else now_ms
    return msgspec.structs.replace(plan, is_paused=False, next_ms=next_ms_of(plan.schedule, after_ms))


def next_ms_of(schedule: Schedule, after_ms: int) -> int | None:
    """Return the first tick after a time; None: there is none."""
    after = instant_at(after_ms)
    tick = None if after is None else schedule.next_after(after)
    return None if tick is None else ms_of(tick)


def is_tick(schedule: Schedule, at_ms: int) -> bool:
    """Tell whether this time is a tick of the schedule."""
    return next_ms_of(schedule, at_ms - 1) == at_ms


def instant_or_none(at_ms: int | None) -> datetime | None:
    """Return the instant of a time that may be none."""
    return None if at_ms is None else instant_at(at_ms)


@lru_cache(maxsize=4_096)
def _schedule_of(form: bytes) -> Schedule:
    try:
        decoded = msgspec.json.decode(form, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ScheduleError(f"These {len(form)} bytes are no stored schedule: {error}.") from error
    return schedule_from_dict(decoded)


def _declared_part(plan: Plan) -> bytes:
    """Return what of a plan was declared, encoded: a tuple is a list then, whatever made it."""
    return encode_plan(
        Plan(
            v=plan.v,
            form=plan.form,
            call=plan.call,
            catch_up=plan.catch_up,
            grace=plan.grace,
            overlap=plan.overlap,
            is_declared=plan.is_declared,
        )
    )
