"""What is said of a schedule beside its ticks: how it is written, and what is refused."""

import datetime as datetime_module
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from asyncq import At, Cron, Every, Schedule, ScheduleError

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": 42}, r"args is a tuple of what the task is called with, such as \(42,\); got 42"),
        ({"args": "ab"}, "args is a tuple"),
        ({"kwargs": [("a", 1)]}, "kwargs is a mapping"),
        ({"name": ""}, "name is a text of 1 to 180 printable characters; got ''"),
        ({"name": "x" * 181}, "1 to 180"),
        ({"name": "two\nlines"}, "printable"),
        ({"name": 5}, "got 5"),
        ({"catch_up": "some"}, "catch_up is 'skip', 'one' or 'all'; got 'some'"),
        ({"grace": -1}, "grace is a number of seconds, 0 or more; got -1"),
        ({"grace": True}, "grace is a number"),
        ({"overlap": 0}, "overlap is True or False; got 0"),
        ({"catch_up": "all", "overlap": False}, "which overlap=False forbids"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: Cron("@daily", **options),
        lambda **options: Every(30, **options),
        lambda **options: At(START, **options),
    ],
)
def test_wrong_options(make: Callable[..., Schedule], options: dict[str, Any], message: str) -> None:
    """A value that makes no sense is refused where it is written, naming the schedule and what is wanted."""
    with pytest.raises(ScheduleError, match=rf"^(Cron|Every|At): .*{message}"):
        make(**options)


def test_it_is_shown_as_it_is_written() -> None:
    """A schedule is shown with what it ticks by, and with what is not as usual."""
    assert repr(Every(30)) == "Every(30)"
    assert repr(Cron("0 6 * * *", tz="Europe/Prague", name="a", args=[1])) == (
        "Cron('0 6 * * *', args=(1,), name='a', tz='Europe/Prague')"
    )
    shown = Every(60, start=START, count=3, jitter=5, kwargs={"a": 1}, catch_up="all", grace=60)
    assert eval(repr(shown), {"Every": Every, "datetime": datetime_module}) == shown


def test_arguments_are_part_of_the_value() -> None:
    """Two schedules with different arguments differ; what cannot be hashed may be an argument."""
    assert Every(30, args=({"a": 1},)) == Every(30, args=[{"a": 1}])
    assert Every(30, args=(1,)) != Every(30, args=(2,))
    assert hash(Every(30, args=({"a": 1},))) == hash(Every(30, args=([],)))


def test_changing_what_was_given_changes_nothing() -> None:
    """A schedule keeps a copy of the mapping that it was given."""
    kwargs = {"a": 1}
    schedule = Every(30, kwargs=kwargs)
    kwargs["a"] = 2
    assert schedule.kwargs == {"a": 1}
