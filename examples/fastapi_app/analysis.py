"""The analysis of a CSV file: from its rows to the report, a chunk at a time."""

from dataclasses import dataclass
from pathlib import Path

from examples.fastapi_app.columns import Column, ColumnStatistics
from examples.fastapi_app.csv_file import CsvFile, count_lines


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a file once it has been read.

    Attributes:
        file: its name, as the user gave it.
        rows: without the header.
        columns: in the order of the header.
    """

    file: str
    rows: int
    columns: list[ColumnStatistics]


class Analysis:
    """An analysis under way. Everything here blocks: it is made for a thread, one call at a time.

    Attributes:
        rows: how many have been read.
        expected_rows: how many the file seems to have; a line break inside a quoted cell counts as one too many.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self.expected_rows = max(0, count_lines(path) - 1)
        self._file = CsvFile(path)
        self._columns = [Column(name) for name in self._file.header]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def step(self, rows: int) -> bool:
        """Read up to so many further rows; return False when there are none. Raises BadCsv."""
        chunk = self._file.columns(rows)
        for column, cells in zip(self._columns, chunk, strict=False):
            column.add(cells)
        self.rows += len(chunk[0]) if chunk else 0
        return bool(chunk)

    def report(self, file: str) -> Report:
        """Return the report on the rows read so far."""
        return Report(file, self.rows, [column.statistics() for column in self._columns])
