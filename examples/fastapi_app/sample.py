"""A CSV file whose statistics are known without reading it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import fsum, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.fastapi_app.columns import MAX_DISTINCT, Kind

_CITIES = ("Brno", "Lisbon", "Lyon", "Oslo", "Porto", "Turin", "Vienna")
_REMARKS = ("", "", "", 'said "call first", please', "", "gift; wrapped", "")


@dataclass(frozen=True, slots=True)
class Sample:
    """A file and what a report on it must say, a map of `ColumnStatistics` fields for each column."""

    path: Path
    rows: int
    columns: Sequence[dict[str, Any]]


def write_sample(path: Path, rows: int) -> Sample:
    """Write a file of so many rows (1 or more). Blocks."""
    numbers = range(1, rows + 1)
    first_day = date(2024, 1, 1)
    columns: dict[str, tuple[Kind, Sequence[Any]]] = {
        "order": (Kind.INTEGER, numbers),
        "day": (Kind.DATE, [(first_day + timedelta(days=number % 366)).isoformat() for number in numbers]),
        "city": (Kind.TEXT, [_CITIES[number % len(_CITIES)] for number in numbers]),
        "quantity": (Kind.INTEGER, [number % 12 + 1 if number % 10 else None for number in numbers]),
        "price": (Kind.NUMBER, [number * 7919 % 10_000 / 100 + 0.5 for number in numbers]),
        "remark": (Kind.TEXT, [_REMARKS[number % len(_REMARKS)] or None for number in numbers]),
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(cells for _, cells in columns.values()), strict=True))
    return Sample(path, rows, [_expected(name, kind, cells) for name, (kind, cells) in columns.items()])


def _expected(name: str, kind: Kind, cells: Sequence[Any]) -> dict[str, Any]:
    """Work the statistics out in two plain passes, another way than the service does."""
    values = [cell for cell in cells if cell is not None]
    distinct = len(set(values))
    is_numeric = kind in (Kind.INTEGER, Kind.NUMBER) and len(values) > 1
    mean = fmean(values) if is_numeric else None
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1)) if mean is not None else None
    return {
        "name": name,
        "kind": kind.value,
        "count": len(values),
        "missing": len(cells) - len(values),
        "distinct": min(distinct, MAX_DISTINCT),
        "is_distinct_exact": distinct <= MAX_DISTINCT,
        "minimum": min(values, default=None),
        "maximum": max(values, default=None),
        "mean": mean,
        "deviation": deviation,
    }
