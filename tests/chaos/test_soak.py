"""What the soak concludes from what it measures."""

import pytest

from tests.chaos.soak import Sample, judge, slope

STEADY = [Sample(float(at), 50_000_000, 40_000_000, 1_000) for at in range(600)]


def test_a_slope_is_in_percent_of_the_mean_a_minute() -> None:
    """What rises from 99 to 101 in ten minutes rises by 0.2 % a minute."""
    assert slope([(at, 99 + at / 300) for at in range(601)]) == pytest.approx(0.2, rel=0.01)
    assert slope([(at, 7.0) for at in range(10)]) == 0


def test_what_stands_still_is_right() -> None:
    """Nothing is said of what grows only at the beginning."""
    growing = [sample._replace(worker=sample.worker // 2, keys=10) for sample in STEADY[:100]]
    assert judge([*growing, *STEADY[100:]], []) == []


@pytest.mark.parametrize(
    ("name", "rise", "text"),
    [("worker", 6_000, "The worker grows"), ("producer", 6_000, "The producer grows"), ("keys", 0.1, "as many keys")],
)
def test_what_grows_is_named(name: str, rise: float, text: str) -> None:
    """A process or a number of keys that rises over its bound is named."""
    growing = [sample._replace(**{name: round(getattr(sample, name) + rise * sample.at)}) for sample in STEADY]
    assert text in "\n".join(judge(growing, []))


def test_too_little_load_says_nothing() -> None:
    """A run of which the machine left less than four fifths is no good, whatever did not grow in it."""
    assert judge(STEADY, [], load=0.81) == []
    assert "Only 79 % of the load" in "\n".join(judge(STEADY, [], load=0.79))


def test_warnings_are_counted() -> None:
    """A warning in the worker's log is wrong."""
    assert "1 lines" in "\n".join(judge(STEADY, ["WARNING: ..."]))
