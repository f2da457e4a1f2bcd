"""A server's clock, carried on by this machine's."""

import time
from collections.abc import Callable

import pytest

from asyncq.clock import MAX_AHEAD_MS, ServerClock, SteadyClock

START_MS = 1_700_000_000_000


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let this machine's monotonic clock stand still, and move it on by hand, by so many milliseconds."""
    now_ns = time.monotonic_ns()

    def move(ms: int) -> None:
        nonlocal now_ns
        now_ns += ms * 1_000_000

    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    return move


def test_a_small_correction_does_not_run_it_backwards(pass_time: Callable[[int], None]) -> None:
    """A steady clock that turns out to be ahead stands still until the server's has caught up, and goes on with it."""
    clock = SteadyClock()
    clock.set(START_MS)
    pass_time(100)
    assert clock.now_ms() == START_MS + 100
    clock.set(START_MS + 70)
    told = []
    for _ in range(5):
        told.append(clock.now_ms() - START_MS)
        pass_time(10)
    assert told == [100, 100, 100, 100, 110]


def test_it_is_put_forward_at_once(pass_time: Callable[[int], None]) -> None:
    """A steady clock that turns out to be behind tells the server's time from then on."""
    clock = SteadyClock()
    clock.set(START_MS)
    assert clock.now_ms() == START_MS
    clock.set(START_MS + 500)
    assert clock.now_ms() == START_MS + 500


def test_a_clock_that_was_set_back_is_followed(pass_time: Callable[[int], None]) -> None:
    """A server's clock that somebody has set back is followed, however far that is; also before it told anything."""
    clock = SteadyClock()
    clock.set(START_MS)
    assert clock.now_ms() == START_MS
    clock.set(START_MS - MAX_AHEAD_MS)
    assert clock.now_ms() == START_MS - MAX_AHEAD_MS
    clock.set(START_MS - 3_600_000)
    assert clock.now_ms() == START_MS - 3_600_000


def test_leases_are_judged_by_what_the_server_said_last(pass_time: Callable[[int], None]) -> None:
    """The clock by which others are taken for dead is never ahead of the server's last word."""
    clock = ServerClock()
    clock.set(START_MS)
    assert clock.now_ms() == START_MS
    clock.set(START_MS - 1)
    assert clock.now_ms() == START_MS - 1
