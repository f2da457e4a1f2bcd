"""The due time: when a call is to run that waits already."""

from datetime import datetime

from asyncq.errors import ConfigurationError
from asyncq.message import MAX_SECONDS


def due_time(delay: float | None, at: datetime | None, now_ms: int) -> int:
    """Return the milliseconds since 1970 that `delay` or `at` mean. Raises ConfigurationError."""
    if (delay is None) == (at is None):
        raise ConfigurationError("reschedule() takes delay= or at=: when the call is due; give one of them.")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"at= takes an aware datetime; {at!r} has no time zone. Add tzinfo, e.g. UTC.")
        return max(0, round(at.timestamp() * 1000))
    if not isinstance(delay, int | float) or isinstance(delay, bool) or not 0 <= delay <= MAX_SECONDS:
        raise ConfigurationError(f"delay= is a number of seconds, 0 or more, a hundred years at most; got {delay!r}.")
    return now_ms + round(delay * 1000)
