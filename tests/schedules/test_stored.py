"""The stored form of schedules."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq.errors import ScheduleError
from asyncq.schedules import EPOCH, At, Cron, Every, Schedule, schedule_from_dict, schedule_to_dict

INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SECONDS = st.floats(1, 1e9) | st.integers(1, 10**9)
SCHEDULES: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(At, INSTANTS, jitter=SECONDS),
    st.builds(Every, SECONDS, start=st.none() | INSTANTS, jitter=SECONDS),
    st.builds(Every, SECONDS, start=INSTANTS, count=st.integers(1, 100)),
    st.builds(Cron, st.sampled_from(["@daily", "*/5 8-17 * * mon-fri"]), tz=st.just("Europe/Prague"), end=INSTANTS),
)


@given(SCHEDULES)
def test_it_comes_back(schedule: Schedule) -> None:
    """What JSON keeps of a schedule is read again as an equal one, with the same ticks."""
    again = schedule_from_dict(json.loads(json.dumps(schedule_to_dict(schedule))))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.next_after(EPOCH) == schedule.next_after(EPOCH)


def test_the_form() -> None:
    """The form is what it was in version 1, for whatever is stored already."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule_to_dict(Cron("0 8 * * mon-fri", tz="Europe/Prague", start=start, count=3, jitter=5)) == {
        "v": 1,
        "kind": "cron",
        "expression": "0 8 * * mon-fri",
        "tz": "Europe/Prague",
        "jitter": 5,
        "start_ms": 1_767_225_600_000,
        "count": 3,
    }
    assert schedule_to_dict(Every(30, end=start)) == {
        "v": 1,
        "kind": "every",
        "seconds": 30,
        "end_ms": 1_767_225_600_000,
    }
    assert schedule_to_dict(At(start)) == {"v": 1, "kind": "at", "when_ms": 1_767_225_600_000}


def test_values_are_values() -> None:
    """A schedule is changed by making another, whose bounds are those of the change."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    once = Every(60, start=start, count=1)
    assert once.next_after(start) is None
    assert replace(once, count=2).next_after(start) == start + timedelta(seconds=60)
    assert len({once, Every(60, start=start, count=1)}) == 1


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "v=None; this asyncq reads 1"),
        ({"v": 2, "kind": "every", "seconds": 30}, "v=2; this asyncq reads 1"),
        ({"v": 1, "kind": "solar"}, "one of the kinds cron, every, at; got 'solar'"),
        ({"v": 1, "kind": []}, "one of the kinds"),
        ({"v": 1, "kind": "every"}, "kind 'every' lacks a field: .*seconds"),
        ({"v": 1, "kind": "every", "seconds": 30, "tz": "UTC"}, "kind 'every' has no tz"),
        ({"v": 1, "kind": "at", "when_ms": "now"}, "when_ms is milliseconds since 1970; got 'now'"),
        ({"v": 1, "kind": "at", "when_ms": 10**18}, "when_ms is milliseconds"),
        ({"v": 1, "kind": "cron", "expression": "61 * * * *"}, "Cron: the minute"),
        ({"v": 1, "kind": "cron", "expression": ["*"]}, "Cron: the expression"),
        ({"v": 1, "kind": "every", "seconds": 0}, "Every: seconds"),
    ],
)
def test_what_is_no_schedule(form: dict[str, Any], says: str) -> None:
    """A form that is of another version, or damaged, is refused with what was wanted."""
    with pytest.raises(ScheduleError, match=says):
        schedule_from_dict(form)
