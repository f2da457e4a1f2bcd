"""The schedules: what is called when, for whoever adds to it, looks at it, or stops it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from asyncq.broker.planning import Check, plan_of
from asyncq.errors import PublishRefused, ScheduleError, near_names
from asyncq.message import Message, new_id
from asyncq.schedules import Schedule
from asyncq.schedules.plan import Plan, decode_plan, encode_plan, instant_or_none, paused, replanned, restarted
from asyncq.tasks import Handle, Task
from asyncq.transport import Change, Changed, Entry, Timetable


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule, as it stands.

    Attributes:
        name: unique in the namespace.
        schedule: when it ticks, with its policies.
        task: what is called.
        args, kwargs: what it is called with, as JSON has it.
        queue: where the calls go.
        next_at: its next tick; past: it is about to be published; None: it is paused, or has none.
        last_at: the last tick that was published or passed over; None: none yet.
        last_id: the call of the last tick that was published, for `broker.handle(last_id)`; empty: none was.
        runs: ticks that were published.
        passed: ticks that were passed over because the call before had not ended.
        is_paused: whether it waits to be resumed.
        is_declared: whether it stands in the code, where it is changed and removed; else it was added at run time.
    """

    name: str
    schedule: Schedule
    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue: str
    next_at: datetime | None
    last_at: datetime | None
    last_id: str
    runs: int
    passed: int
    is_paused: bool
    is_declared: bool


class Schedules:
    """The schedules of a broker: `broker.schedules`.

    Those of the code are known once a scheduler has run it. Every method raises NotSupported where the broker remembers
    none, and BrokerUnavailable.

    Args:
        timetable: returns what remembers them, opened.
        declared: those of the code.
        check: refuses calls that the broker would not take.
        publish: publishes a call under a fresh id, and returns its handle.
    """

    def __init__(
        self,
        timetable: Callable[[], Awaitable[Timetable]],
        declared: Mapping[str, Plan],
        check: Check,
        publish: Callable[[Message], Awaitable[Handle[Any]]],
    ) -> None:
        self._timetable = timetable
        self._declared = declared
        self._check = check
        self._publish = publish

    async def add(self, task: Task[..., Any], schedule: Schedule) -> ScheduleInfo:
        """Add a schedule, or put it in the place of the one of its name, which was added before.

        What stands there keeps its next tick if that is one of the new schedule, too; else it is the first after now.
        A schedule without a further tick removes itself.

        Args:
            task: what is called, with its options: `report.options(queue="slow")`.
            schedule: with the name= that it is to have.

        Raises:
            ScheduleError: it has no name, no tick left, or the name of one that stands in the code.
            ConfigurationError: the arguments do not fit the task.
        """
        name = schedule.name
        if name is None:
            raise ScheduleError("A schedule that is added at run time has a name= of its own, to be found by.")
        new = plan_of(task, schedule, self._check, is_declared=False)
        if name in self._declared:
            raise _of_the_code(name, "add it under another name=")
        timetable = await self._timetable()
        while True:
            entry = await self._entry(timetable, name)
            old = None if entry is None else decode_plan(entry.record)
            if old is not None and old.is_declared:
                raise _of_the_code(name, "add it under another name=")
            plan = replanned(new, old, timetable.now_ms())
            if plan.next_ms is None and not plan.is_paused:
                raise ScheduleError(f"Schedule {name!r} would have no tick any more: {schedule!r}.")
            if await self._has_become(timetable, name, entry, plan):
                return _shown(name, plan)

    async def get(self, name: str) -> ScheduleInfo | None:
        """Return the schedule of this name; None: there is none."""
        entry = await self._entry(await self._timetable(), name)
        return None if entry is None else _shown(name, decode_plan(entry.record))

    async def list(self) -> Sequence[ScheduleInfo]:
        """Return all schedules, in alphabetical order."""
        return [_shown(entry.name, decode_plan(entry.record)) for entry in await (await self._timetable()).entries()]

    async def pause(self, name: str) -> ScheduleInfo:
        """Stop its ticks until it is resumed, also across restarts. Raises ScheduleError where there is none."""
        return await self._become(name, paused)

    async def resume(self, name: str) -> ScheduleInfo:
        """Let it tick again: first at the next tick after now. Raises ScheduleError where there is none."""
        timetable = await self._timetable()
        return await self._become(name, lambda plan: restarted(plan, timetable.now_ms()) if plan.is_paused else plan)

    async def remove(self, name: str) -> bool:
        """Remove a schedule that was added at run time; return whether there was one.

        What it has published stays.

        Raises:
            ScheduleError: it stands in the code, and would come back.
        """
        timetable = await self._timetable()
        while (entry := await self._entry(timetable, name)) is not None:
            if decode_plan(entry.record).is_declared:
                raise _of_the_code(name, "remove it there, or pause it")
            if await self._has_become(timetable, name, entry, None):
                return True
        return False

    async def run_now(self, name: str) -> Handle[Any]:
        """Publish its call now, under a fresh id; the ticks stay as they are, and a paused one may be run.

        Raises:
            ScheduleError: there is no such schedule.
            PublishRefused: as in `kiq`.
        """
        timetable = await self._timetable()
        call = (await self._known(timetable, name))[1].call
        now_ms = timetable.now_ms()
        expires_ms = now_ms + call.expires_ms if call.expires_ms else 0
        return await self._publish(
            msgspec.structs.replace(call, id=new_id(), digest="", enqueued_ms=now_ms, expires_ms=expires_ms)
        )

    async def _become(self, name: str, becoming: Callable[[Plan], Plan]) -> ScheduleInfo:
        timetable = await self._timetable()
        while True:
            entry, old = await self._known(timetable, name)
            plan = becoming(old)
            if await self._has_become(timetable, name, entry, plan):
                return _shown(name, plan)

    async def _has_become(self, timetable: Timetable, name: str, entry: Entry | None, plan: Plan | None) -> bool:
        """Try to change what was read; return False when it was another by then."""
        record = None if plan is None else encode_plan(plan)
        seen = None if entry is None else entry.record
        change = Change(name, seen, record, None if plan is None else plan.next_ms)
        (answer,) = await timetable.change([change])
        if isinstance(answer, PublishRefused):
            raise answer
        return answer is not Changed.STALE

    async def _entry(self, timetable: Timetable, name: str) -> Entry | None:
        (entry,) = await timetable.find([name])
        return entry

    async def _known(self, timetable: Timetable, name: str) -> tuple[Entry, Plan]:
        entry = await self._entry(timetable, name)
        if entry is not None:
            return entry, decode_plan(entry.record)
        near = near_names(name, [each.name for each in await timetable.entries()])
        known = " It stands in the code; no scheduler has run that yet." if name in self._declared else ""
        raise ScheduleError(f"There is no schedule {name!r}.{known}{near}")


def _of_the_code(name: str, instead: str) -> ScheduleError:
    return ScheduleError(f"Schedule {name!r} stands in the code: {instead}.")


def _shown(name: str, plan: Plan) -> ScheduleInfo:
    schedule = replace(plan.schedule, catch_up=plan.catch_up, grace=plan.grace, overlap=plan.overlap)
    return ScheduleInfo(
        name=name,
        schedule=schedule,
        task=plan.call.task,
        args=tuple(plan.call.args),
        kwargs=dict(plan.call.kwargs),
        queue=plan.call.queue,
        next_at=instant_or_none(plan.next_ms),
        last_at=instant_or_none(plan.last_ms),
        last_id=plan.last_id,
        runs=plan.runs,
        passed=plan.passed,
        is_paused=plan.is_paused,
        is_declared=plan.is_declared,
    )
