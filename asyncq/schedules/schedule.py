"""The schedule: what every kind of it has, and how start, end and count bound one that goes on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Literal, cast, get_args

from asyncq.errors import ScheduleError
from asyncq.message import MAX_SECONDS
from asyncq.schedules.instants import EPOCH, aware, instant_of, ms_of

CatchUp = Literal["skip", "one", "all"]

MAX_COUNT: Final = 1_000
"""The largest `count`: to find the last tick all are walked through, once, which takes a cron up to 0.3 s."""

MAX_NAME: Final = 180
"""Characters of a name: with a tick it makes an id."""

_BEFORE_EPOCH: Final = EPOCH - timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Schedule(ABC):
    """Tells when ticks are, and how a task is called at them.

    All that is told is in UTC, and depends on nothing but the schedule and what is asked.

    Attributes:
        jitter: seconds by which a tick's call may be due later than the tick; 0: not at all.
        args, kwargs: what the task is called with.
        name: of the schedule, unique in the namespace, 1 to MAX_NAME characters; None: that of its task.
        catch_up: what becomes of ticks at which no scheduler could publish (all were down, or the server was): "one"
            runs the latest, "all" runs each, "skip" none. A tick that is less than a second late was not missed.
        grace: seconds after which a missed tick is not made up for.
        overlap: whether a tick's call is published while that of the tick before has not ended; False: the tick is
            passed over, and counted.
    """

    jitter: float = 0.0
    args: Sequence[Any] = field(default=(), hash=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    name: str | None = None
    catch_up: CatchUp = "one"
    grace: float = 3600.0
    overlap: bool = True

    def __post_init__(self) -> None:
        if not is_seconds(self.jitter, 0):
            raise self.error(f"jitter is a number of seconds, 0 or more; got {self.jitter!r}.")
        if not isinstance(cast(object, self.args), tuple | list):
            raise self.error(f"args is a tuple of what the task is called with, such as (42,); got {self.args!r}.")
        if not isinstance(cast(object, self.kwargs), Mapping):
            raise self.error(f"kwargs is a mapping of names to values; got {self.kwargs!r}.")
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "kwargs", dict(self.kwargs))
        if self.name is not None:
            self._check_name(self.name)
        if self.catch_up not in get_args(CatchUp):
            raise self.error(f"catch_up is 'skip', 'one' or 'all'; got {self.catch_up!r}.")
        if not is_seconds(self.grace, 0):
            raise self.error(f"grace is a number of seconds, 0 or more; got {self.grace!r}.")
        if not isinstance(cast(object, self.overlap), bool):
            raise self.error(f"overlap is True or False; got {self.overlap!r}.")
        if self.catch_up == "all" and not self.overlap:
            raise self.error(
                "catch_up='all' publishes missed ticks together, which overlap=False forbids: 'one' it is."
            )

    def __repr__(self) -> str:
        """Return it as it is written: what it ticks by, and what is not as usual."""
        shown = [each for each in fields(self) if each.repr]
        own = [repr(getattr(self, each.name)) for each in shown if not each.kw_only and each.default is MISSING]
        usual = {each.name: _usual(each) for each in shown}
        options = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in shown
            if usual[each.name] is not MISSING and getattr(self, each.name) != usual[each.name]
        ]
        return f"{type(self).__name__}({', '.join([*own, *options])})"

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

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise self.error(f"name is a text of 1 to {MAX_NAME} printable characters; got {name!r}.")

    @classmethod
    def error(cls, text: str) -> ScheduleError:
        """Return the error of a value that is wrong."""
        return ScheduleError(f"{cls.__name__}: {text}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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


def _usual(each: Field[Any]) -> object:
    return each.default if each.default_factory is MISSING else each.default_factory()


def is_seconds(value: object, least: float) -> bool:
    """Tell whether this is a number of seconds in range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= MAX_SECONDS


def is_whole(value: object) -> bool:
    """Tell whether this is an integer, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)
