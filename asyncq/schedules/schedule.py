"""The schedule: what every kind of it has, and how start, end and count bound one that goes on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from asyncq.errors import ScheduleError
from asyncq.message import MAX_SECONDS
from asyncq.schedules.instants import EPOCH, aware, instant_of, ms_of

MAX_COUNT: Final = 1_000
"""The largest `count`: to find the last tick all are walked through, once, which takes a cron up to 0.3 s."""

_BEFORE_EPOCH: Final = EPOCH - timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ABC):
    """Tells when ticks are. All that is told is in UTC, and depends on nothing but the schedule and what is asked.

    Attributes:
        jitter: seconds by which a tick's call may be due later than the tick; 0: not at all.
    """

    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not is_seconds(self.jitter, 0):
            raise self.error(f"jitter is a number of seconds, 0 or more; got {self.jitter!r}.")

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first tick strictly after an aware instant; None: there is none."""

    def due_at(self, tick: datetime, name: str) -> datetime:
        """Return when the call of a tick is due: up to `jitter` seconds later, to the millisecond.

        Drawn from the tick and the name of its schedule: the same wherever it is asked, and different for schedules
        that tick together.
        """
        if not self.jitter:
            return tick
        digest = blake2b(f"{ms_of(tick)} {name}".encode(), digest_size=4).digest()
        share = int.from_bytes(digest, "big") / (1 << 32)
        return tick + timedelta(milliseconds=int(share * self.jitter * 1000))

    @classmethod
    def error(cls, text: str) -> ScheduleError:
        """Return the error of a value that is wrong."""
        return ScheduleError(f"{cls.__name__}: {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring(Schedule):
    """A schedule whose ticks go on until a bound, if there is any.

    Attributes:
        start: no tick before, one at the very time is. None: since ever.
        end: no tick after, one at the very time is. None: for ever.
        count: how many ticks in all, from `start` on, which it needs: 1 to MAX_COUNT. None: any number.
    """

    start: datetime | None = None
    end: datetime | None = None
    count: int | None = None
    _last: datetime | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super(Recurring, self).__post_init__()
        for name in ("start", "end"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, instant_of(given, f"{type(self).__name__}: {name}"))
        if self.start is not None and self.end is not None and self.end < self.start:
            raise self.error(f"end is no earlier than start, {self.start.isoformat()}; got {self.end.isoformat()}.")
        if self.count is not None:
            self._check_count(self.count)
        self._prepare()
        object.__setattr__(self, "_last", self._find_last())

    def next_after(self, instant: datetime) -> datetime | None:
        after = max(aware(instant), _BEFORE_EPOCH)
        if self.start is not None:
            after = max(after, self.start - timedelta(microseconds=1))
        tick = self._tick_after(after)
        return None if tick is None or (self._last is not None and tick > self._last) else tick

    @abstractmethod
    def _prepare(self) -> None:
        """Check what this kind has of its own, before it is asked for ticks."""

    @abstractmethod
    def _tick_after(self, instant: datetime) -> datetime | None:
        """Return the first tick strictly after an instant, as if there were no bounds."""

    def _check_count(self, count: int) -> None:
        if not is_whole(count) or not 1 <= count <= MAX_COUNT:
            raise self.error(f"count is a number of ticks, 1 to {MAX_COUNT}, or None; got {count!r}.")
        if self.start is None:
            raise self.error("count is counted from start, which is missing.")

    def _find_last(self) -> datetime | None:
        """Return when the last tick may be: `end`, or the one that makes up `count`, whichever comes first."""
        if self.count is None:
            return self.end
        tick: datetime | None = None
        for _ in range(self.count):
            tick = self.next_after(tick or _BEFORE_EPOCH)
            if tick is None or (self.end is not None and tick > self.end):
                return self.end
        return tick


def is_seconds(value: object, least: float) -> bool:
    """Tell whether this is a number of seconds in range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= MAX_SECONDS


def is_whole(value: object) -> bool:
    """Tell whether this is an integer, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)
