"""Texts: how values are shown to people, and to programs."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from typing import Any

import click
import msgspec

UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))

_encode = msgspec.json.Encoder().encode


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table whose columns are as wide as they need to be; a terminal's edge cuts the last one off.

    Args:
        headers: of the columns.
        rows: of the table.
        right: headers of the columns that stand at their right edge.
    """
    cells = [[plain(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in cells:
        aligned = [
            cell.rjust(width) if header in right else cell.ljust(width)
            for header, cell, width in zip(headers, row, widths, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip()[:edge])


def print_object(value: Mapping[str, Any]) -> None:
    """Print a JSON object in one line."""
    click.echo(_encode(value).decode())


def facts_of(value: Any) -> dict[str, Any]:
    """Return the fields of one of our dataclasses."""
    return asdict(value)


def plain(text: str) -> str:
    """Return a text in one line, without what a terminal would take for an order."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def span(seconds: float | None) -> str:
    """Return a span of time as people say it, in its two largest units: `5s`, `3m`, `2h 5m`; None: `-`."""
    if seconds is None:
        return "-"
    left = max(0, round(seconds))
    for (unit, size), (smaller_unit, smaller_size) in pairwise(UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            smaller_count = rest // smaller_size
            return f"{count}{unit} {smaller_count}{smaller_unit}" if smaller_count else f"{count}{unit}"
    return f"{left}s"


def number(count: int | None) -> str:
    """Return a number with its thousands apart; None: `-`."""
    return "-" if count is None else f"{count:,}"


def moment(at: datetime | None) -> str:
    """Return a moment, to the second, in UTC; None: nothing."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
