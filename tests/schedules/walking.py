"""Cron by brute force: every minute is asked whether it is one. The words of the manual, without cronsim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from asyncq.schedules import Schedule

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # both 0 and 7 are Sunday


@dataclass(frozen=True)
class Field:
    """A field's text, and what it allows."""

    text: str
    allowed: frozenset[int]

    @property
    def is_starred(self) -> bool:
        return self.text.startswith("*")


@dataclass(frozen=True)
class Fields:
    """The five fields of a cron text."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        return " ".join(field.text for field in (self.minute, self.hour, self.day, self.month, self.weekday))

    def name(self, wall: datetime) -> bool:
        """Tell whether the fields name this minute of a clock on the wall."""
        is_day = wall.day in self.day.allowed
        is_weekday = not self.weekday.allowed.isdisjoint({wall.isoweekday(), wall.isoweekday() % 7})
        is_either = not (self.day.is_starred or self.weekday.is_starred)
        return (
            wall.minute in self.minute.allowed
            and wall.hour in self.hour.allowed
            and wall.month in self.month.allowed
            and (is_day or is_weekday if is_either else is_day and is_weekday)
        )

    def ticks(self, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
        """Return all ticks from `first` to `last`, both whole minutes in UTC and included."""
        if self.minute.is_starred or self.hour.is_starred:
            return [at for at in minutes(first, last) if self.name(at.astimezone(zone))]
        walls = minutes(wall_of(first - DAY, zone), wall_of(last + DAY, zone))
        ticks = {real(wall, zone) for wall in walls if self.name(wall)}
        return sorted(tick for tick in ticks if first <= tick <= last)


def minutes(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += MINUTE


def wall_of(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def real(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when a clock on the wall first shows a time, or, where it never does, the first time that it does show."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return at if wall_of(at, zone) == wall else real(wall + MINUTE, zone)


def walk(schedule: Schedule, first: datetime, last: datetime) -> list[datetime]:
    """Return a schedule's ticks from `first` to `last`, both included, each found from the one before."""
    ticks: list[datetime] = []
    at = first - timedelta(microseconds=1)
    while (tick := schedule.next_after(at)) is not None and tick <= last:
        ticks.append(tick)
        at = tick
    return ticks


def first_beyond(ticks: Sequence[datetime], at: datetime) -> datetime | None:
    return next((tick for tick in ticks if tick > at), None)


@st.composite
def _terms(draw: st.DrawFn, least: int, most: int) -> Field:
    first = draw(st.integers(least, most))
    last = draw(st.integers(first, most))
    step = draw(st.integers(1, most))
    whole = range(least, most + 1)
    return draw(
        st.sampled_from(
            [
                Field("*", frozenset(whole)),
                Field(f"*/{step}", frozenset(whole[::step])),
                Field(f"{first}", frozenset({first})),
                Field(f"{first}-{last}", frozenset(range(first, last + 1))),
                Field(
                    f"{first}-{last}/{step}", frozenset(range(first, last + 1)[::step]) | _tail(first, last, most, step)
                ),
            ]
        )
    )


def _tail(first: int, last: int, most: int, step: int) -> frozenset[int]:
    """Return what cronsim takes a range of one for, that has a step: 5-5/2 is 5/2, from 5 on."""
    return frozenset(range(first, most + 1)[::step]) if first == last else frozenset()


@st.composite
def _lists(draw: st.DrawFn, least: int, most: int) -> Field:
    terms = draw(st.lists(_terms(least, most), min_size=1, max_size=3))
    return Field(",".join(term.text for term in terms), frozenset().union(*(term.allowed for term in terms)))


def fields() -> st.SearchStrategy[Fields]:
    """Cron texts of every kind, most of which name some minutes of most days."""
    every = st.just(Field("*", frozenset(range(60))))
    rare = [every | _lists(*limits) for limits in LIMITS[2:]]
    return st.builds(Fields, *(_lists(*limits) for limits in LIMITS[:2]), *rare)
