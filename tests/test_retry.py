"""Retry policies and backoff."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq import ConfigurationError, RetryPolicy
from asyncq.backoff import Backoff


@given(st.integers(1, 5_000), st.floats(0, 1e6), st.floats(1, 100), st.floats(0, 1e6), st.booleans())
def test_delays_are_bounded(failures: int, delay: float, factor: float, max_delay: float, jitter: bool) -> None:
    """Whatever the numbers, a delay is between 0 and the ceiling."""
    assert 0 <= Backoff(delay, factor, max_delay, jitter).seconds(failures, Random(1)) <= max_delay


def test_delays_grow() -> None:
    """Without jitter the delays are the numbers that the policy says; with it, they come from their upper half."""
    plain = RetryPolicy(delay=1, factor=2, max_delay=5, jitter=False)
    assert [plain.seconds_after(n, Random()) for n in (1, 2, 3, 4)] == [1, 2, 4, 5]
    jittered = RetryPolicy(delay=1, factor=2, max_delay=5)
    assert all(2 <= jittered.seconds_after(3, Random(seed)) <= 4 for seed in range(100))


def test_never_wins() -> None:
    """An exception named by `never` is not tried again, also inside a group and when `on` names it too."""
    policy = RetryPolicy(on=(OSError,), never=(FileNotFoundError,))
    assert policy.allows(OSError())
    assert not policy.allows(FileNotFoundError())
    assert not policy.allows(ValueError())
    assert policy.allows(ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [OSError()])]))
    assert not policy.allows(ExceptionGroup("g", [OSError(), ExceptionGroup("h", [FileNotFoundError()])]))


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"delay": -1}, {"max_delay": float("inf")}, {"factor": 0.5}])
def test_senseless_numbers(options: dict[str, float]) -> None:
    """Numbers that make no sense are refused where the policy is written."""
    with pytest.raises(ConfigurationError, match="RetryPolicy"):
        RetryPolicy(**options)  # pyright: ignore[reportArgumentType] - a map of mixed numbers
