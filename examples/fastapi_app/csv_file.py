"""A CSV file as it comes from people: several separators, short rows, blank lines, or no CSV at all."""

import csv
from itertools import islice
from pathlib import Path

MAX_COLUMNS = 500
_SEPARATORS = ",;\t|"
_BLOCK = 1024 * 1024


class BadCsv(ValueError):
    """The file cannot be read as CSV; the message is meant for who uploaded it."""


class CsvFile:
    """An open CSV file with a header, read from its top in chunks of rows. Everything here blocks.

    Attributes:
        header: names of the columns.
    """

    def __init__(self, path: Path) -> None:
        # utf-8-sig: spreadsheets put a byte order mark first. newline="": the csv module wants line ends as they are.
        self._file = path.open(encoding="utf-8-sig", newline="")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def columns(self, rows: int) -> list[tuple[str, ...]]:
        """Return up to so many of the next rows, column by column; an empty list at the end.

        A short row is filled up with empty cells, a blank line is none.

        Raises:
            BadCsv: the file is no CSV from here on, or a row is longer than the header.
        """
        width = len(self.header)
        chunk = self._rows(rows)
        if not chunk:
            return []
        if max(map(len, chunk)) > width:
            raise BadCsv(f"A row near line {self._reader.line_num} has more cells than the header, which has {width}.")
        return list(zip(*(row if len(row) == width else row + [""] * (width - len(row)) for row in chunk), strict=True))

    def _open(self) -> None:
        try:
            first_line = self._file.readline(_BLOCK)
        except UnicodeDecodeError as error:
            raise BadCsv("The file is not text in UTF-8.") from error
        self._file.seek(0)
        # strict: a stray quote is an error with a line number, and not half of the file in one cell.
        self._reader = csv.reader(self._file, delimiter=max(_SEPARATORS, key=first_line.count), strict=True)
        self._full_rows = filter(None, self._reader)
        self.header = [name.strip() for name in next(iter(self._rows(1)), [])]
        if not self.header:
            raise BadCsv("The file is empty: it has not even a header.")
        if len(self.header) > MAX_COLUMNS:
            raise BadCsv(f"The header has {len(self.header)} columns; {MAX_COLUMNS} is the most.")

    def _rows(self, count: int) -> list[list[str]]:
        try:
            return list(islice(self._full_rows, count))
        except csv.Error as error:
            raise BadCsv(f"Line {self._reader.line_num} is not CSV: {error}.") from error
        except UnicodeDecodeError as error:
            raise BadCsv(f"Somewhere after line {self._reader.line_num} the file is not text in UTF-8.") from error


def count_lines(path: Path) -> int:
    """Return the number of line ends in a file. Blocks."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
