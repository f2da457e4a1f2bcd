"""Instants: points in time as schedules hold them, aware, in UTC and to the millisecond."""

from datetime import UTC, datetime, timedelta
from typing import Final

from asyncq.errors import ScheduleError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No schedule has a tick before."""

_MILLISECOND: Final = timedelta(milliseconds=1)


def instant_of(value: object, what: str) -> datetime:
    """Return a datetime in UTC, without what it has below a millisecond.

    Args:
        value: what the user gave.
        what: its name, for the error.

    Raises:
        ScheduleError: it is no aware datetime of the years 1970 to 9999.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ScheduleError(f"{what} is an aware datetime, such as datetime(2026, 1, 31, tzinfo=UTC); got {value!r}.")
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        instant = None
    if instant is None or instant < EPOCH:
        raise ScheduleError(f"{what} is a time in the years 1970 to 9999; got {value!r}.")
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def aware(instant: datetime) -> datetime:
    """Return an instant to go on from, or raise ScheduleError where it has no time zone."""
    if instant.utcoffset() is None:
        raise ScheduleError(f"The instant to go on from is an aware datetime; got {instant!r}.")
    return instant


def ms_of(instant: datetime) -> int:
    """Return the milliseconds since 1970, rounded down."""
    return (instant - EPOCH) // _MILLISECOND


def instant_at(ms: int) -> datetime | None:
    """Return the instant so many milliseconds after 1970; None: that is beyond the year 9999."""
    try:
        return EPOCH + ms * _MILLISECOND
    except OverflowError:
        return None
