"""The planning: what schedules stand in the code, and the plan that is made of a task and a schedule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from asyncq.errors import ConfigurationError, PublishRefused
from asyncq.message import Message
from asyncq.schedules import MAX_NAME, Schedule
from asyncq.schedules.plan import Plan, new_plan
from asyncq.tasks import Task
from asyncq.tasks.task import digest_of

Check = Callable[[Message], object]
"""Raises PublishRefused for a call that the broker would not take."""


class DeclaredPlans(Mapping[str, Plan]):
    """The plans of a broker's code, by name."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def __getitem__(self, name: str) -> Plan:
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    def add(self, task: Task[..., Any], schedules: Schedule | Sequence[Schedule], check: Check) -> None:
        """Plan what `schedule=` of a task says, in place of what it said before.

        Raises:
            ConfigurationError: no schedules, arguments that do not fit, or a name that another schedule has.
        """
        plans: dict[str, Plan] = {}
        for name, schedule in _named(task, schedules):
            other = self._plans.get(name)
            if name in plans or (other is not None and other.call.task != task.name):
                raise ConfigurationError(f"Two schedules are named {name!r}. Give one of them another name=.")
            plans[name] = plan_of(task, schedule, check, is_declared=True)
        kept = {name: plan for name, plan in self._plans.items() if plan.call.task != task.name}
        self._plans = kept | plans


def plan_of(task: Task[..., Any], schedule: Schedule, check: Check, *, is_declared: bool) -> Plan:
    """Return the plan of calling a task at a schedule's ticks, with the options that the task has.

    Raises:
        ConfigurationError: the arguments do not fit, or the task has options that only one call may have.
    """
    try:
        call = task.message(*schedule.args, **schedule.kwargs)
        check(call)
    except (TypeError, PublishRefused) as error:
        raise ConfigurationError(
            f"A schedule calls {task.name!r} with args={schedule.args!r}, kwargs={schedule.kwargs!r}: {error}"
        ) from error
    if call.due_ms or call.digest:
        raise ConfigurationError(
            f"A schedule says when {task.name!r} is called, and under which ids: leave out options(at=, delay=, id=)."
        )
    named = msgspec.structs.replace(call, digest=digest_of(call.task, call.args, call.kwargs))
    return new_plan(schedule, named, is_declared=is_declared)


def _named(task: Task[..., Any], schedules: Schedule | Sequence[Schedule]) -> Iterator[tuple[str, Schedule]]:
    several = [schedules] if isinstance(schedules, Schedule) else list(cast("Sequence[object]", schedules))
    for number, schedule in enumerate(several, 1):
        if not isinstance(schedule, Schedule):
            raise ConfigurationError(
                f"schedule= of {task.name!r} is a Cron, Every or At, or several in a list; got {schedule!r}."
            )
        name = schedule.name or (task.name if number == 1 else f"{task.name}#{number}")
        if len(name) > MAX_NAME:
            raise ConfigurationError(
                f"The schedule of {task.name!r} needs a name= of {MAX_NAME} characters at most: its task's is longer."
            )
        yield name, schedule
