"""Cron when the clocks change: both ways, in Europe and in America."""

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncq.errors import ScheduleError
from asyncq.schedules import Cron
from tests.schedules.walking import DAY, MINUTE, Field, Fields, fields, first_beyond, walk

CHANGES = {
    "Europe/Prague": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York": (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
}
ODD_CHANGES = [  # at midnight, or by half an hour
    ("Africa/Cairo", datetime(2024, 4, 25, 22, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2024, 10, 31, 21, tzinfo=UTC)),
    ("America/Santiago", datetime(2024, 9, 8, 4, tzinfo=UTC)),
    ("America/Havana", datetime(2024, 11, 3, 5, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 10, 5, 15, 30, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2024, 3, 31, 1, tzinfo=UTC)),
]
ALL_CHANGES = [(zone, change) for zone, changes in CHANGES.items() for change in changes]
FORWARD = [(zone, forward) for zone, (forward, _) in CHANGES.items()]
BACK = [(zone, back) for zone, (_, back) in CHANGES.items()]
HOUR = timedelta(hours=1)


def hours_of(zone: str, change: datetime) -> tuple[int, int]:
    """Return the hours that the clock on the wall shows just before a change and from it on."""
    return (change - MINUTE).astimezone(ZoneInfo(zone)).hour, change.astimezone(ZoneInfo(zone)).hour


def on_the_day(cron: Cron, change: datetime) -> list[timedelta]:
    """Return the ticks of twelve hours around a change, as the time since."""
    return [tick - change for tick in walk(cron, change - 6 * HOUR, change + 6 * HOUR)]


@pytest.mark.parametrize(("zone", "change"), ALL_CHANGES)
@pytest.mark.parametrize(("text", "step"), [("* * * * *", MINUTE), ("*/5 * * * *", 5 * MINUTE), ("0 * * * *", HOUR)])
def test_what_is_frequent_goes_on(zone: str, change: datetime, text: str, step: timedelta) -> None:
    """Minutely and hourly ticks keep their distance over a change: none is lost, none comes twice."""
    ticks = walk(Cron(text, tz=zone), change - DAY, change + DAY)
    assert ticks == [change - DAY + n * step for n in range(2 * DAY // step + 1)]


@pytest.mark.parametrize(("zone", "change"), FORWARD)
def test_a_time_that_is_skipped_comes_at_the_end_of_the_gap(zone: str, change: datetime) -> None:
    """A fixed time in the skipped hour ticks once, when that is over; so do several of them, together."""
    skipped = hours_of(zone, change)[0] + 1
    assert on_the_day(Cron(f"30 {skipped} * * *", tz=zone), change) == [timedelta(0)]
    assert on_the_day(Cron(f"10,30,50 {skipped} * * *", tz=zone), change) == [timedelta(0)]
    assert on_the_day(Cron(f"0 {skipped},{skipped + 1} * * *", tz=zone), change) == [timedelta(0)]
    assert on_the_day(Cron(f"30 {skipped},{skipped + 1} * * *", tz=zone), change) == [timedelta(0), HOUR / 2]


@pytest.mark.parametrize(("zone", "change"), BACK)
def test_a_time_that_comes_twice_ticks_once(zone: str, change: datetime) -> None:
    """A fixed time in the repeated hour ticks the first time, from wherever it is asked."""
    cron = Cron(f"30 {hours_of(zone, change)[1]} * * *", tz=zone)
    assert on_the_day(cron, change) == [-HOUR / 2]
    for minutes in range(61):
        assert cron.next_after(change + minutes * MINUTE) == change - HOUR / 2 + DAY + HOUR


@pytest.mark.parametrize(("zone", "change"), ALL_CHANGES)
def test_days_stay_days(zone: str, change: datetime) -> None:
    """A daily time away from the change is at that time by the clock on the wall, on every day around it."""
    ticks = walk(Cron("0 8 * * *", tz=zone), change - 3 * DAY, change + 3 * DAY)
    walls = [tick.astimezone(ZoneInfo(zone)) for tick in ticks]
    assert [(wall.day, wall.hour) for wall in walls] == [
        ((walls[0] + n * DAY).day, 8)
        for n in range(6)  # wall arithmetic: a datetime's own zone stands still
    ]


@pytest.mark.parametrize(("zone", "change", "count"), [(*at, 0) for at in FORWARD] + [(*at, 4) for at in BACK])
def test_a_starred_minute_goes_by_elapsed_time(zone: str, change: datetime, count: int) -> None:
    """`*/30` of the very hour that is skipped has no tick that day; of one that is repeated, it has them twice."""
    before, after = hours_of(zone, change)
    hour = after if before == after else before + 1
    assert len(on_the_day(Cron(f"*/30 {hour} * * *", tz=zone), change)) == count


@pytest.mark.parametrize(("zone", "change"), ODD_CHANGES)
def test_odd_changes(zone: str, change: datetime) -> None:
    """Where clocks change at midnight, or by half an hour, ticks are those that asking every minute gives, too."""
    assert (change - MINUTE).astimezone(ZoneInfo(zone)).utcoffset() != change.astimezone(ZoneInfo(zone)).utcoffset()
    wall = change.astimezone(ZoneInfo(zone))
    for hour, minute, day in product(range(wall.hour - 2, wall.hour + 3), ("*/10", "15"), ("*", str(wall.day))):
        cron_fields = Fields(
            Field(minute, frozenset({0, 10, 20, 30, 40, 50} if minute == "*/10" else {15})),
            Field(str(hour % 24), frozenset({hour % 24})),
            Field(day, frozenset(range(1, 32) if day == "*" else {wall.day})),
            Field("*", frozenset(range(1, 13))),
            Field("*", frozenset(range(7))),
        )
        first, last = change - 4 * HOUR, change + 4 * HOUR
        ticks = walk(Cron(cron_fields.text, tz=zone), first, last)
        assert ticks == cron_fields.ticks(ZoneInfo(zone), first, last), cron_fields.text


@settings(deadline=None)
@given(fields(), st.sampled_from(ALL_CHANGES + ODD_CHANGES), st.data())
def test_it_is_what_the_manual_says(cron_fields: Fields, at: tuple[str, datetime], data: st.DataObject) -> None:
    """Around a change, the ticks are those that asking every minute gives, and the next is found from any instant."""
    zone, change = at
    first, last = change - 6 * HOUR, change + 6 * HOUR
    try:
        cron = Cron(cron_fields.text, tz=zone)
    except ScheduleError:
        assume(False)
        raise
    expected = cron_fields.ticks(ZoneInfo(zone), first, last)
    assert walk(cron, first, last) == expected
    instant = first + data.draw(st.timedeltas(timedelta(0), last - first))
    following = cron.next_after(instant)
    assert following == first_beyond(expected, instant) or (following is not None and following > last)
