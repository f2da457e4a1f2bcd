"""The log of grants, and what of any history it may never allow."""

from hypothesis import given
from hypothesis import strategies as st

from asyncq.limits import GrantLog, Numbers

steps = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 5)), max_size=80)
"""Of each attempt: ms since the one before, and its weight."""


def history(numbers: Numbers, attempts: list[tuple[int, int]], *, is_patient: bool) -> list[tuple[int, int]]:
    """Return when which weights were granted: to those that wait for their time, or only to those that find it come."""
    log, now_ms, grants = GrantLog(), 1_000_000, []
    for after_ms, wanted in attempts:
        now_ms += after_ms
        weight = min(wanted, numbers.limit)
        due_ms = log.due_ms(numbers, weight, now_ms)
        if due_ms > now_ms and not is_patient:
            continue
        now_ms = max(now_ms, due_ms)
        assert log.due_ms(numbers, weight, now_ms) <= now_ms, "the time that it has named is right"
        log.grant(numbers, weight, now_ms)
        grants.append((now_ms, weight))
    return grants


def heaviest(grants: list[tuple[int, int]], per_ms: int) -> int:
    """Return the largest weight in any window of so many ms, both ends included."""
    return max((sum(each for at, each in grants if start <= at <= start + per_ms) for start, _ in grants), default=0)


@given(st.integers(1, 8), st.integers(1, 1_000), st.integers(0, 8), steps, st.booleans())
def test_no_window_has_more_than_the_limit(
    limit: int, per_ms: int, burst: int, attempts: list[tuple[int, int]], is_patient: bool
) -> None:
    """Whatever comes when, no window has more than the limit, and no part of one more than the burst."""
    numbers = Numbers(limit, per_ms, min(burst, limit))
    grants = history(numbers, attempts, is_patient=is_patient)
    assert heaviest(grants, per_ms) <= limit
    if 0 < numbers.burst < limit:
        largest = max((weight for _, weight in grants), default=0)
        assert heaviest(grants, per_ms * numbers.burst // limit) <= max(numbers.burst, largest)


@given(st.integers(1, 8), st.integers(1, 1_000), steps)
def test_the_limit_is_used(limit: int, per_ms: int, attempts: list[tuple[int, int]]) -> None:
    """Who waits for its time gets it not a ms later than the rule allows."""
    numbers = Numbers(limit, per_ms)
    log, now_ms, grants = GrantLog(), 1_000_000, []
    for _ in attempts:
        due_ms = max(now_ms, log.due_ms(numbers, 1, now_ms))
        earliest = grants[-limit] + per_ms + 1 if len(grants) >= limit else now_ms
        assert due_ms == max(now_ms, earliest)
        now_ms = due_ms
        log.grant(numbers, 1, now_ms)
        grants.append(now_ms)


def test_a_clock_that_was_set_back() -> None:
    """Grants from the future count as granted now: one window is lost at most, and none has more."""
    log, numbers = GrantLog(), Numbers(2, 1_000)
    for _ in range(2):
        log.grant(numbers, 1, 10_000_000)
    assert log.due_ms(numbers, 1, 5_000_000) == 5_001_001
    assert log.due_ms(numbers, 1, 5_001_001) <= 5_001_001


def test_a_large_limit_costs_few_entries() -> None:
    """Above 10,000 grants in a window, entries stand for parts of it; still no window has more."""
    log, numbers = GrantLog(), Numbers(20_000, 60_000)
    now_ms = 0
    for _ in range(20_000):
        now_ms += 2
        assert log.due_ms(numbers, 1, now_ms) <= now_ms
        log.grant(numbers, 1, now_ms)
    assert log.due_ms(numbers, 1, now_ms) > 2 + 60_000 - 1
    assert log.used(numbers, now_ms) == 20_000
