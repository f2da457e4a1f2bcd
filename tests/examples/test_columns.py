"""Statistics of one column."""

import statistics
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from examples.fastapi_app.columns import MAX_DISTINCT, MAX_TEXT, Column, ColumnStatistics, Kind


def statistics_of(*chunks: list[str]) -> ColumnStatistics:
    column = Column("x")
    for chunk in chunks:
        column.add(chunk)
    return column.statistics()


def kind_of(*cells: str) -> Kind:
    return statistics_of(list(cells)).kind


def test_the_kind_is_the_narrowest_that_fits() -> None:
    """A column has the narrowest kind that each of its values has; missing ones do not count."""
    assert kind_of() is Kind.EMPTY
    assert kind_of("", "NA", " null ") is Kind.EMPTY
    assert kind_of("1", "", "-20", "+3") is Kind.INTEGER
    assert kind_of("1", "2.5", "1e3") is Kind.NUMBER
    assert kind_of("2024-02-29", "") is Kind.DATE
    assert kind_of("2024-02-29", "2023-02-29") is Kind.TEXT
    assert kind_of("1", "one") is Kind.TEXT
    assert kind_of("1", "2024-02-29") is Kind.TEXT


def test_what_python_reads_as_a_number_but_people_do_not_is_text() -> None:
    """Underscores and infinities are no numbers, and an integer beyond 64 bits is a number that is no integer."""
    assert kind_of("1_000") is Kind.TEXT
    assert kind_of("1_0.5") is Kind.TEXT
    assert kind_of("inf") is Kind.TEXT
    assert kind_of("1e999") is Kind.TEXT
    assert kind_of(str(2**63 - 1)) is Kind.INTEGER
    assert kind_of(str(2**63)) is Kind.NUMBER


def test_a_kind_can_only_widen_from_chunk_to_chunk() -> None:
    """What an earlier chunk was taken for is corrected by a later one, whatever comes after."""
    assert statistics_of(["1"], ["2.5"], ["3"]).kind is Kind.NUMBER
    assert statistics_of(["1"], ["x"], ["3"]).kind is Kind.TEXT
    assert statistics_of(["2024-01-01"], ["1"]).kind is Kind.TEXT
    assert statistics_of([""], ["2024-01-01"], ["", ""]).kind is Kind.DATE


def test_text_that_began_as_numbers_has_a_range_of_text() -> None:
    """The range of a column of text covers what looked like numbers at first, and there is no mean."""
    found = statistics_of(["10", "9"], ["abc"])
    assert (found.minimum, found.maximum, found.mean, found.deviation) == ("10", "abc", None, None)


def test_missing_values_are_counted_apart() -> None:
    """Missing cells are counted and take no part in anything else."""
    found = statistics_of(["1", "", "n/a", "3"])
    assert (found.count, found.missing, found.distinct, found.mean) == (2, 2, 2, 2.0)


def test_distinct_values_are_bounded() -> None:
    """Beyond the bound a column says that there are more, and keeps none of them."""
    exact = statistics_of([str(number) for number in range(MAX_DISTINCT)])
    more = statistics_of([str(number) for number in range(MAX_DISTINCT + 1)], ["1"])
    assert (exact.distinct, exact.is_distinct_exact) == (MAX_DISTINCT, True)
    assert (more.distinct, more.is_distinct_exact) == (MAX_DISTINCT, False)


def test_long_texts_are_cut_in_the_report() -> None:
    """A long text is a minimum of bounded length."""
    assert statistics_of(["x" * 10_000]).minimum == "x" * MAX_TEXT


def test_numbers_too_large_to_square_have_no_deviation() -> None:
    """Where a float cannot hold the deviation there is none, rather than an infinity that JSON cannot hold."""
    found = statistics_of(["1e300", "-1e300"])
    assert (found.deviation, found.maximum) == (None, 1e300)


@given(st.lists(st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1), min_size=1))
def test_mean_and_deviation_are_those_of_the_statistics_module(chunks: list[list[float]]) -> None:
    """However the numbers are cut into chunks, mean and deviation are what the standard library says."""
    numbers = [number for chunk in chunks for number in chunk]
    found = statistics_of(*([repr(number) for number in chunk] for chunk in chunks))
    assert found.mean is not None
    assert isclose(found.mean, statistics.fmean(numbers), rel_tol=1e-9, abs_tol=1e-3)
    if len(numbers) > 1:
        assert found.deviation is not None
        assert isclose(found.deviation, statistics.stdev(numbers), rel_tol=1e-6, abs_tol=1e-3)
    assert (found.minimum, found.maximum) == (min(numbers), max(numbers))
