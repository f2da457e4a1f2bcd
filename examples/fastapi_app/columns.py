"""Statistics of one column of text cells, in one pass and in bounded memory."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import isfinite, sqrt
from typing import TypeVar

T = TypeVar("T", str, float)

MISSING = frozenset({"", "-", "n/a", "na", "nan", "none", "null"})
"""What stands for "no value", in lower case."""

MAX_DISTINCT = 10_000
"""Distinct values that are counted exactly; beyond, a column only says that there are more."""

MAX_TEXT = 80
"""Characters of a text that are kept as a minimum or maximum."""

_LARGEST_INTEGER = 2**63 - 1
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Kind(StrEnum):
    """The narrowest type that every value of a column has."""

    EMPTY = "empty"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """What is said about a column.

    Attributes:
        count: cells with a value.
        missing: cells without one.
        distinct: different values as they are written; at most MAX_DISTINCT.
        is_distinct_exact: False: there are more than `distinct`.
        minimum, maximum: numbers in a column of numbers, else text (ISO dates sort as text); None in an empty one.
        mean: of numbers; else None.
        deviation: standard deviation of the sample; None for fewer than two numbers.
    """

    name: str
    kind: Kind
    count: int
    missing: int
    distinct: int
    is_distinct_exact: bool
    minimum: int | float | str | None
    maximum: int | float | str | None
    mean: float | None
    deviation: float | None


class Moments:
    """Mean and deviation of a stream of numbers (B. P. Welford, Technometrics 4, 1962: stable in one pass)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, numbers: Iterable[float]) -> None:
        """Take in more numbers."""
        count, mean, squares = self.count, self.mean, self._squares
        for number in numbers:
            count += 1
            delta = number - mean
            mean += delta / count
            squares += delta * (number - mean)
        self.count, self.mean, self._squares = count, mean, squares

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample; None for fewer than two numbers or beyond what a float can hold."""
        if self.count < 2 or not isfinite(self._squares):
            return None
        return sqrt(self._squares / (self.count - 1))


class Column:
    """The running statistics of one column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind = Kind.EMPTY
        self._count = 0
        self._missing = 0
        self._distinct: set[str] | None = set()
        self._numbers = Moments()
        self._number_range: tuple[float, float] | None = None
        self._text_range: tuple[str, str] | None = None

    def add(self, cells: Sequence[str]) -> None:
        """Take in further cells. Many at once are far cheaper than one by one."""
        values = [value for cell in cells if (value := cell.strip()).lower() not in MISSING]
        self._count += len(values)
        self._missing += len(cells) - len(values)
        if not values:
            return
        if self._distinct is not None:
            self._distinct.update(values)
            if len(self._distinct) > MAX_DISTINCT:
                self._distinct = None
        self._text_range = _widened(self._text_range, values)
        self._add_numbers(values)

    def _add_numbers(self, values: Sequence[str]) -> None:
        self._kind, numbers = _read(values, _WIDER[self._kind])
        if numbers:
            self._numbers.add(numbers)
            self._number_range = _widened(self._number_range, numbers)

    def statistics(self) -> ColumnStatistics:
        """Return what is known so far."""
        is_numeric = self._kind in (Kind.INTEGER, Kind.NUMBER)
        lowest, highest = (self._number_range if is_numeric else _shortened(self._text_range)) or (None, None)
        return ColumnStatistics(
            name=self._name,
            kind=self._kind,
            count=self._count,
            missing=self._missing,
            distinct=MAX_DISTINCT if self._distinct is None else len(self._distinct),
            is_distinct_exact=self._distinct is not None,
            minimum=lowest,
            maximum=highest,
            mean=self._numbers.mean if is_numeric and isfinite(self._numbers.mean) else None,
            deviation=self._numbers.deviation if is_numeric else None,
        )


def _read(values: Sequence[str], kinds: Sequence[Kind]) -> tuple[Kind, Sequence[float]]:
    """Return the first kind that fits all values, and the numbers in them."""
    for kind in kinds:
        numbers = _READERS[kind](values)
        if numbers is not None:
            return kind, numbers
    return Kind.TEXT, []


def _integers(values: Sequence[str]) -> list[int] | None:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        return None
    # int() also reads "1_000", which in a file is a name and not a number.
    is_plain = max(map(abs, numbers)) <= _LARGEST_INTEGER and not any("_" in value for value in values)
    return numbers if is_plain else None


def _floats(values: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(map(isfinite, numbers)) and not any("_" in value for value in values) else None


def _dates(values: Sequence[str]) -> list[float] | None:
    try:
        for value in values:
            if not _DATE.fullmatch(value):
                return None
            date.fromisoformat(value)
    except ValueError:
        return None
    return []


_READERS: dict[Kind, Callable[[Sequence[str]], Sequence[float] | None]] = {
    Kind.INTEGER: _integers,
    Kind.NUMBER: _floats,
    Kind.DATE: _dates,
}
"""Each returns the numbers in the values, none for what is no number, or None where a value is not of its kind."""

_WIDER = {
    Kind.EMPTY: (Kind.INTEGER, Kind.NUMBER, Kind.DATE),
    Kind.INTEGER: (Kind.INTEGER, Kind.NUMBER),
    Kind.NUMBER: (Kind.NUMBER,),
    Kind.DATE: (Kind.DATE,),
    Kind.TEXT: (),
}
"""What a column of one kind can still turn out to be, the narrowest first; if nothing of that, text."""


def _widened(range_: tuple[T, T] | None, values: Sequence[T]) -> tuple[T, T]:
    lowest, highest = min(values), max(values)
    return (lowest, highest) if range_ is None else (min(range_[0], lowest), max(range_[1], highest))


def _shortened(range_: tuple[str, str] | None) -> tuple[str, str] | None:
    return range_ and (range_[0][:MAX_TEXT], range_[1][:MAX_TEXT])
