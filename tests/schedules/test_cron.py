"""Cron text: what it means, and what is refused."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncq.errors import ScheduleError
from asyncq.schedules import EPOCH, Cron
from tests.schedules.walking import DAY, Fields, fields, walk


def days(cron: Cron, year: int, until: int) -> list[str]:
    """Return the dates of all ticks of these years."""
    ticks = walk(cron, datetime(year, 1, 1, tzinfo=UTC), datetime(until, 1, 1, tzinfo=UTC))
    return [f"{tick:%Y-%m-%d}" for tick in ticks]


def test_a_real_one() -> None:
    """Weekdays at eight in Prague are weekdays at eight in Prague, in winter and in summer."""
    cron = Cron("0 8 * * mon-fri", tz="Europe/Prague")
    ticks = walk(cron, datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
    assert ticks == [datetime(2026, 3, 27, 7, tzinfo=UTC), datetime(2026, 3, 30, 6, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("nickname", "text"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 jan *"),
        (" @Annually ", "0 0 1 JAN *"),
    ],
)
def test_nicknames(nickname: str, text: str) -> None:
    """A nickname ticks as the text that it stands for."""
    at = Cron(nickname).next_after(EPOCH)
    assert at is not None
    assert at == Cron(text).next_after(EPOCH)
    assert Cron(nickname).next_after(at) == Cron(text).next_after(at)


def test_leap_days() -> None:
    """29 February comes in leap years alone, and 2100 is none."""
    assert days(Cron("0 0 29 2 *"), 2095, 2110) == ["2096-02-29", "2104-02-29", "2108-02-29"]


def test_ends_of_months() -> None:
    """The 31st passes over shorter months; L is the last day of each, LW the last weekday."""
    assert days(Cron("0 0 31 * *"), 2026, 2027) == [f"2026-{month:02}-31" for month in (1, 3, 5, 7, 8, 10, 12)]
    assert days(Cron("0 0 L 1-3 *"), 2028, 2029) == ["2028-01-31", "2028-02-29", "2028-03-31"]
    assert days(Cron("0 0 LW 1-3 *"), 2026, 2027) == ["2026-01-30", "2026-02-27", "2026-03-31"]
    assert days(Cron("0 0 * 1-2 mon#1"), 2026, 2027) == ["2026-01-05", "2026-02-02"]


def test_days_of_both_kinds() -> None:
    """Two restricted days are alternatives; one that begins with a star restricts the other."""
    assert days(Cron("0 0 13 2 fri"), 2026, 2027) == [f"2026-02-{day:02}" for day in (6, 13, 20, 27)]
    assert days(Cron("0 0 */2 2 fri"), 2026, 2027) == ["2026-02-13", "2026-02-27"]
    assert days(Cron("0 0 31 2 mon"), 2026, 2027) == [f"2026-02-{day:02}" for day in (2, 9, 16, 23)]


@pytest.mark.parametrize("year", [2038, 2106, 2500, 9000])
def test_far_years(year: int) -> None:
    """Ticks go on beyond what 32 bits hold, with the change of clocks that the time zone's rules say."""
    cron = Cron("0 8 1 1,7 *", tz="Europe/Prague")
    assert walk(cron, datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)) == [
        datetime(year, 1, 1, 7, tzinfo=UTC),
        datetime(year, 7, 1, 6, tzinfo=UTC),
    ]


def test_the_end_of_time() -> None:
    """After the year 9999 there is nothing, and no error."""
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert Cron("* * * * *").next_after(last) is None
    assert Cron("0 0 1 1 *", tz="America/New_York").next_after(last - DAY) is None
    assert Cron("* * * * *", tz="Europe/Prague").next_after(last) is None


def test_the_beginning_of_time() -> None:
    """1970 begins with a tick; whoever asks from before gets that one."""
    for at in (
        EPOCH - DAY,
        datetime.min.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=9))),
    ):
        assert Cron("* * * * *").next_after(at) == EPOCH


@settings(deadline=None)
@given(fields(), st.datetimes(datetime(1970, 1, 2), datetime(2400, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_ticks_are_all_of_them(cron_fields: Fields, first: datetime) -> None:
    """At any time, a day of ticks is what asking every minute gives; each is after the one before."""
    try:
        cron = Cron(cron_fields.text)
    except ScheduleError:
        assume(False)
        raise
    first = first.replace(second=0, microsecond=0)
    ticks = walk(cron, first, first + DAY)
    assert ticks == cron_fields.ticks(ZoneInfo("UTC"), first, first + DAY)
    assert all(before < after for before, after in pairwise(ticks))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("61 * * * *", r"the minute in '61 \* \* \* \*' is 0-59;.*got '61'"),
        ("* 24 * * *", "the hour .* is 0-23;.*got '24'"),
        ("* * 0 * *", "the day of the month .* is 1-31.*got '0'"),
        ("* * * sept *", "the month .* is 1-12 or jan-dec;.*got 'sept'"),
        ("* * * * sat-sun", "the day of the week .* ranges upwards.*got 'sat-sun'"),
        ("*/0 * * * *", "the minute .*got '\\*/0'"),
        ("* * * *", "has 4 fields; wanted are five: minute, hour"),
        ("", "has 0 fields"),
        ("* * * * * *", "has 6 fields.* For seconds there is Every"),
        ("@dayly", "is none of @yearly.* Near it: '@daily'"),
        ("@reboot", "is none of @yearly"),
        ("0 0 31 2,4 *", "never comes: none of its months has such a day"),
        ("* * */20 * 1L", "never comes: no day"),
        ("* * * * " + "1," * 200, "200 characters"),
        (None, "got None"),
    ],
)
def test_what_is_no_cron(text: str, says: str) -> None:
    """A text that is wrong is refused where it is written, with the field, what was wanted and what was found."""
    with pytest.raises(ScheduleError, match=says):
        Cron(text)


@pytest.mark.parametrize(
    "zone", ["Europe/Praha", "Europe", "../etc/passwd", "/etc/localtime", "", "a\0b", "CEST", None]
)
def test_what_is_no_time_zone(zone: str) -> None:
    """A time zone that is not known is refused, and near ones are named."""
    with pytest.raises(ScheduleError, match=r"Cron: tz is the name of a time zone.*" + "('Europe/Prague')?"):
        Cron("* * * * *", tz=zone)
    with pytest.raises(ValueError, match="Near it: 'Europe/Prague'"):
        Cron("* * * * *", tz="Europe/Praha")


@settings(deadline=None)
@given(st.text("0123456789*/,-#LW MONTUEJANFEB@", max_size=40) | st.text(max_size=20))
def test_any_text(text: str) -> None:
    """Whatever the text, it is a cron that ticks or a ScheduleError."""
    try:
        cron = Cron(text)
    except ScheduleError:
        return
    assert cron.next_after(EPOCH) is not None
