"""By the clock on the wall: cron text in a time zone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSimError

from asyncq.errors import ScheduleError, near_names
from asyncq.schedules.cronwalk import CronWalk
from asyncq.schedules.instants import EPOCH
from asyncq.schedules.schedule import Recurring

MAX_LENGTH: Final = 200
"""Characters of a cron text: nobody needs more, and some come from users of users."""

_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = {
    "minute": "0-59",
    "hour": "0-23",
    "day of the month": "1-31, L (the last) or LW (the last weekday)",
    "month": "1-12 or jan-dec",
    "day of the week": "0-7 or sun-sat (0 and 7 are Sunday), mon#1 (the first) or 1L (the last)",
}


@dataclass(frozen=True, slots=True, repr=False)
class Cron(Recurring):
    """Ticks at the times of day that five fields name: minute, hour, day of the month, month, day of the week.

    As Debian's cron understands them, through cronsim: names, ranges, steps and lists, in whatever case; and what that
    adds: L, LW, mon#1. Where both days are restricted, either is enough; one that begins with `*` restricts the other
    (`0 0 */2 * mon`).

    When the clocks change, it depends on whether minute or hour begin with `*`:

    - If one does (`*/5 * * * *`, hourly `0 * * * *`), ticks go by elapsed time. A skipped hour has none, a repeated one
      has them twice: every five minutes stays every five minutes. So has a single hour: `*/30 2 * * *` has none or four
      ticks on a day that skips or repeats the hour from two.
    - If none does (`30 2 * * *`), each day has each time once. One that is skipped comes at the end of the gap, as
      one tick with others that are; of one that comes twice it is the first.

    Attributes:
        expression: the five fields; or `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly`, `@yearly`
            (`@annually`).
        tz: name of the time zone, such as "Europe/Prague".
    """

    expression: str
    tz: str = "UTC"
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_zone", _zone_of(self.tz))
        _check(self.expression)
        if self._tick_after(EPOCH) is None:
            raise self.error(f"{self.expression!r} never comes: no day is all that it asks for.")

    def _tick_after(self, instant: datetime) -> datetime | None:
        try:
            walk = CronWalk(_fields_of(self.expression), instant.astimezone(self._zone))
            tick = next(walk, None)
            # From within a repeated hour it also returns times of the hour before, which was the first one.
            while tick is not None and tick.astimezone(UTC) <= instant:
                tick = next(walk, None)
        except OverflowError:  # beyond the year 9999
            return None
        return None if tick is None else tick.astimezone(UTC)


def _zone_of(name: object) -> tzinfo:
    if name == "UTC":
        return UTC  # for which cronsim has a shorter way
    if not isinstance(name, str):
        raise Cron.error(f"tz is the name of a time zone, such as 'Europe/Prague'; got {name!r}.")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:  # unknown, no name at all, or a folder of names
        known = available_timezones()
        near = near_names(name, known) if known else " This machine knows none: pip install tzdata."
        raise Cron.error(f"tz is the name of a time zone; {name!r} is not known here.{near}") from error


def _fields_of(expression: str) -> str:
    return _NICKNAMES.get(expression.strip().lower(), expression)


def _check(expression: object) -> None:
    if not isinstance(expression, str) or not expression.isascii() or len(expression) > MAX_LENGTH:
        raise Cron.error(
            f"the expression is a text of five fields, {MAX_LENGTH} characters at most; got {expression!r}."
        )
    fields = _fields_of(expression).split()
    if expression.lstrip().startswith("@") and len(fields) == 1:
        raise Cron.error(f"{expression!r} is none of {', '.join(_NICKNAMES)}.{near_names(expression, _NICKNAMES)}")
    if len(fields) != len(_FIELDS):
        hint = " For seconds there is Every." if len(fields) == len(_FIELDS) + 1 else ""
        raise Cron.error(
            f"{expression!r} has {len(fields)} fields; wanted are five: {', '.join(_FIELDS)}, "
            f"such as '0 8 * * mon-fri'.{hint}"
        )
    for position, (name, values) in enumerate(_FIELDS.items()):
        alone = ["*"] * len(_FIELDS)
        alone[position] = fields[position]
        try:
            CronWalk(" ".join(alone), EPOCH)
        except CronSimError as error:
            raise _bad_field(expression, name, values, fields[position]) from error
    try:
        CronWalk(" ".join(fields), EPOCH)
    except CronSimError as error:
        raise Cron.error(f"{expression!r} never comes: none of its months has such a day.") from error


def _bad_field(expression: str, name: str, values: str, got: str) -> ScheduleError:
    return Cron.error(
        f"the {name} in {expression!r} is {values}; *, or ranges upwards (1-5), steps (*/5) and lists (1,3) of these; "
        f"got {got!r}."
    )
