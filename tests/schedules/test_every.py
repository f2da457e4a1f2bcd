"""Every and At, and what all schedules have: start, end, count, jitter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq.errors import AsyncqError, ScheduleError
from asyncq.schedules import EPOCH, At, Cron, Every, Recurring
from tests.schedules.walking import DAY, walk

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_every_is_counted_from_1970() -> None:
    """Without a start, ticks are at whole multiples of the period, whoever asks and from wherever."""
    at = NEW_YEAR + timedelta(seconds=31, microseconds=5)
    assert Every(30).next_after(at) == NEW_YEAR + 60 * SECOND
    assert Every(0.5 + 1).next_after(NEW_YEAR) == NEW_YEAR + 1.5 * SECOND
    assert Every(7).next_after(EPOCH - DAY) == EPOCH


@given(st.floats(1, 1e6), INSTANTS, st.none() | INSTANTS)
def test_every_keeps_its_distance(seconds: float, at: datetime, start: datetime | None) -> None:
    """The next tick is later, by no more than the period; and the one after it is exactly that much later."""
    every = Every(seconds, start=start)
    step = timedelta(milliseconds=round(seconds * 1000))
    tick = every.next_after(at)
    assert tick is not None
    if start is None or start <= at:
        assert at < tick <= at + step
    else:
        assert tick == every.start
    assert every.next_after(tick) == tick + step
    assert every.next_after(tick - timedelta(microseconds=1)) == tick


def test_at_is_once() -> None:
    """At ticks at its time, and never again."""
    at = At(NEW_YEAR)
    assert at.next_after(NEW_YEAR - timedelta(microseconds=1)) == NEW_YEAR
    assert at.next_after(NEW_YEAR) is None


@pytest.mark.parametrize("schedule", [Every(3600), Cron("0 * * * *"), Cron("0 * * * *", tz="Asia/Kathmandu")])
def test_start_and_end_are_included(schedule: Recurring) -> None:
    """No tick is before start or after end, and those at the very times are ticks."""
    first = schedule.next_after(NEW_YEAR)
    assert first is not None
    made = type(schedule)(**_own(schedule), start=first, end=first + timedelta(hours=2))
    assert walk(made, EPOCH, NEW_YEAR + DAY) == [first + timedelta(hours=n) for n in range(3)]
    shut = type(schedule)(**_own(schedule), start=first + SECOND, end=first + 2 * SECOND)
    assert shut.next_after(EPOCH) == (first + SECOND if isinstance(schedule, Every) else None)


@given(st.integers(1, 40), st.sampled_from([Every(900), Cron("*/20 8-9 * * *", tz="Europe/Prague")]))
def test_count_is_counted_from_start(count: int, schedule: Recurring) -> None:
    """With a count, ticks are the first so many since start; an end that is earlier goes before."""
    unbounded = type(schedule)(**_own(schedule), start=NEW_YEAR)
    counted = type(schedule)(**_own(schedule), start=NEW_YEAR, count=count)
    ended = type(schedule)(**_own(schedule), start=NEW_YEAR, count=count, end=NEW_YEAR + DAY / 2)
    ticks = walk(unbounded, NEW_YEAR, NEW_YEAR + 60 * DAY)[:count]
    assert walk(counted, EPOCH, NEW_YEAR + 60 * DAY) == ticks
    assert walk(ended, EPOCH, NEW_YEAR + 60 * DAY) == [tick for tick in ticks if tick <= NEW_YEAR + DAY / 2]


@given(INSTANTS, st.floats(0, 1e6), st.text())
def test_jitter_is_the_same_everywhere(at: datetime, jitter: float, name: str) -> None:
    """A tick's call is due within its jitter, not before the tick, and at the same time for everybody."""
    schedule = Every(60, jitter=jitter)
    tick = schedule.next_after(at)
    assert tick is not None
    due = schedule.due_at(tick, name)
    assert tick <= due <= tick + timedelta(seconds=jitter)
    assert due == Every(60, jitter=jitter).due_at(tick, name)


def test_jitter_spreads() -> None:
    """Ticks of one schedule, and schedules that tick together, are spread over the whole of their jitter."""
    schedule = Every(60, jitter=10)
    for dues in (
        [schedule.due_at(NEW_YEAR + n * 60 * SECOND, "report") - n * 60 * SECOND for n in range(1000)],
        [schedule.due_at(NEW_YEAR, f"report {n}") for n in range(1000)],
    ):
        assert min(dues) < NEW_YEAR + SECOND
        assert max(dues) > NEW_YEAR + 9 * SECOND
    assert Every(60).due_at(NEW_YEAR, "report") == NEW_YEAR


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001


def untyped(value: Any) -> Any:
    """Return the value as what a type checker does not look at."""
    return value


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Every(0), "Every: seconds is a number of seconds, 1 or more; got 0"),
        (lambda: Every(float("nan")), "Every: seconds"),
        (lambda: Every(float("inf")), "Every: seconds"),
        (lambda: Every(True), "Every: seconds"),
        (lambda: Every(untyped("30")), "Every: seconds .* got '30'"),
        (lambda: Every(30, jitter=-1), "Every: jitter is a number of seconds, 0 or more; got -1"),
        (lambda: At(NEW_YEAR, jitter=float("inf")), "At: jitter"),
        (lambda: Cron("* * * * *", start=NAIVE), "Cron: start is an aware datetime"),
        (lambda: Cron("* * * * *", end=untyped("tomorrow")), "Cron: end is an aware datetime.* got 'tomorrow'"),
        (lambda: At(NAIVE), "At: when is an aware datetime"),
        (lambda: At(EPOCH - SECOND), "At: when is a time in the years 1970 to 9999"),
        (lambda: Every(30, start=NEW_YEAR, end=EPOCH), "Every: end is no earlier than start"),
        (lambda: Every(30, start=NEW_YEAR, count=0), "Every: count is a number of ticks, 1 to 1000, or None; got 0"),
        (lambda: Every(30, start=NEW_YEAR, count=1_001), "Every: count"),
        (lambda: Every(30, start=NEW_YEAR, count=untyped(2.0)), "Every: count"),
        (lambda: Every(30, count=2), "Every: count is counted from start, which is missing"),
        (lambda: Every(30).next_after(NAIVE), "The instant to go on from is an aware datetime"),
        (lambda: At(NEW_YEAR).next_after(NAIVE), "The instant to go on from is an aware datetime"),
    ],
)
def test_senseless_values(make: Any, says: str) -> None:
    """A value that makes no sense is refused where it is written, by a ScheduleError, which is a ValueError, too."""
    with pytest.raises(ScheduleError, match=says) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AsyncqError)


def _own(schedule: Recurring) -> dict[str, Any]:
    match schedule:
        case Every(seconds):
            return {"seconds": seconds}
        case Cron(expression, tz):
            return {"expression": expression, "tz": tz}
        case _:
            raise AssertionError(schedule)
