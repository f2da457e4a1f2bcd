"""The stored form: a schedule as plain data, for any language to keep and this one to read again."""

from collections.abc import Mapping
from typing import Any, Final

from asyncq.errors import ScheduleError
from asyncq.schedules.at import At
from asyncq.schedules.cron import Cron
from asyncq.schedules.every import Every
from asyncq.schedules.instants import instant_at, ms_of
from asyncq.schedules.schedule import Recurring, Schedule, is_whole

FORM_VERSION: Final = 1
"""Raised when an older reader could misread a schedule."""

_KINDS: Final[Mapping[str, tuple[type[Schedule], frozenset[str]]]] = {
    "cron": (Cron, frozenset({"expression", "tz", "jitter", "start_ms", "end_ms", "count"})),
    "every": (Every, frozenset({"seconds", "jitter", "start_ms", "end_ms", "count"})),
    "at": (At, frozenset({"when_ms", "jitter"})),
}


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as what JSON can hold: `v`, `kind`, and the fields that are set; instants as `NAME_ms`."""
    match schedule:
        case Cron(expression, tz):
            own: dict[str, Any] = {"kind": "cron", "expression": expression, "tz": tz}
        case Every(seconds):
            own = {"kind": "every", "seconds": seconds}
        case At(when):
            own = {"kind": "at", "when_ms": ms_of(when)}
        case _:
            raise ScheduleError(f"A {type(schedule).__name__} has no stored form; wanted is a Cron, Every or At.")
    form = {"v": FORM_VERSION, **own}
    if schedule.jitter:
        form["jitter"] = schedule.jitter
    if isinstance(schedule, Recurring):
        bounds = {"start_ms": schedule.start, "end_ms": schedule.end}
        form |= {name: ms_of(bound) for name, bound in bounds.items() if bound is not None}
        form |= {} if schedule.count is None else {"count": schedule.count}
    return form


def schedule_from_dict(form: Mapping[str, Any]) -> Schedule:
    """Return the schedule that `schedule_to_dict` made this of.

    Raises:
        ScheduleError: it is of a later version, or no such form.
    """
    if (version := form.get("v")) != FORM_VERSION:
        raise ScheduleError(
            f"A stored schedule has the form v={version!r}; this asyncq reads {FORM_VERSION}. "
            "Upgrade whoever reads before who writes."
        )
    kind = form.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ScheduleError(f"A stored schedule is of one of the kinds {', '.join(_KINDS)}; got {kind!r}.")
    made, names = _KINDS[kind]
    given = {name: value for name, value in form.items() if name not in {"v", "kind"}}
    if unknown := given.keys() - names:
        raise ScheduleError(f"A stored schedule of the kind {kind!r} has no {', '.join(sorted(unknown))}.")
    try:
        return made(**dict(_read(name, value) for name, value in given.items()))
    except TypeError as error:
        raise ScheduleError(f"A stored schedule of the kind {kind!r} lacks a field: {error}.") from error


def _read(name: str, value: Any) -> tuple[str, Any]:
    """Return the name and the value of a field as they are given to a schedule."""
    if not name.endswith("_ms"):
        return name, value
    instant = instant_at(value) if is_whole(value) else None
    if instant is None:
        raise ScheduleError(f"A stored schedule's {name} is milliseconds since 1970; got {value!r}.")
    return name.removesuffix("_ms"), instant
