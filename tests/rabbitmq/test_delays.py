"""The ladder's arithmetic."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncq.rabbitmq import delays

DELAYS = st.integers(1, delays.LONGEST_MS) | st.integers(1, 100_000)


@given(DELAYS)
@example(1)
@example(16)
@example(17)
@example(16 * 16)
@example(delays.LONGEST_MS)
def test_a_message_waits_as_long_as_it_should(delay_ms: int) -> None:
    """The queues that it goes through take together as long as the delay, and less than 16 ms longer."""
    assert delay_ms <= sum(rung.wait_ms for rung in delays.route(delay_ms).rungs) < delay_ms + 16


@given(DELAYS)
def test_a_message_goes_down_from_its_highest_level(delay_ms: int) -> None:
    """A way begins at the first level that is waited in, and comes to no level twice."""
    route = delays.route(delay_ms)
    levels = [rung.level for rung in route.rungs]
    assert levels == sorted(set(levels), reverse=True)
    assert route.level == levels[0]
    assert {*route.rungs} <= {*delays.rungs_up_to(route.level)}


@pytest.mark.parametrize("beyond", [1, 10**12])
def test_a_delay_longer_than_the_ladder_takes_all_of_it(beyond: int) -> None:
    """What is due later than the ladder is long waits the longest at each level."""
    route = delays.route(delays.LONGEST_MS + beyond)
    assert route == delays.route(delays.LONGEST_MS)
    assert sum(rung.wait_ms for rung in route.rungs) == delays.LONGEST_MS == 2**32 - 16


@pytest.mark.parametrize("delay_ms", [0, -5])
def test_what_is_due_now_has_no_way(delay_ms: int) -> None:
    """A delay is positive."""
    with pytest.raises(ValueError, match="1 ms or more"):
        delays.route(delay_ms)


@given(DELAYS, st.from_regex(r"[a-b1.-]{1,8}", fullmatch=True), st.from_regex(r"[a-b1.-]{1,8}", fullmatch=True))
def test_a_key_matches_one_way_at_each_level_and_one_queue(delay_ms: int, queue: str, other: str) -> None:
    """At each level either the queue's or the passing binding matches, and below them the queue's own alone."""
    route = delays.route(delay_ms)
    key = route.key(queue)
    waits = {rung.level: rung.value for rung in route.rungs}
    for level in range(delays.LEVELS):
        matching = [value for value in range(4) if matches(delays.pattern(level, value), key)]
        assert matching == [waits.get(level, 0)]
    assert matches(delays.due_pattern(queue), key)
    assert matches(delays.due_pattern(other), key) is (other == queue)


def matches(pattern: str, key: str) -> bool:
    """Match as a topic exchange does: `*` is one word, a last `#` is any words."""
    wanted, words = pattern.split("."), key.split(".")
    if wanted[-1] == "#":
        wanted, words = wanted[:-1], words[: len(wanted) - 1]
    return len(wanted) == len(words) and all(map(fnmatchcase, words, wanted))
