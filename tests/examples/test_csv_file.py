"""Reading CSV as it comes from people."""

from contextlib import closing
from pathlib import Path

import pytest

from examples.fastapi_app.csv_file import MAX_COLUMNS, BadCsv, CsvFile, count_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "file.csv"


def read(path: Path, content: str | bytes, rows: int = 100) -> tuple[list[str], list[tuple[str, ...]]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with closing(CsvFile(path)) as file:
        return file.header, file.columns(rows)


def test_rows_come_column_by_column_in_chunks(path: Path) -> None:
    """Rows are read in chunks of the size asked for, and an empty list says that there are no more."""
    path.write_text("a,b\n1,2\n3,4\n5,6\n")
    with closing(CsvFile(path)) as file:
        assert file.header == ["a", "b"]
        assert [file.columns(2) for _ in range(3)] == [[("1", "3"), ("2", "4")], [("5",), ("6",)], []]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_headers(path: Path, separator: str) -> None:
    """What separates the header separates the rows, whatever else is in them."""
    header, columns = read(path, f"a{separator}b c\n1{separator}x,;y\n".replace("x,;y", '"x,;y"'))
    assert (header, columns) == (["a", "b c"], [("1",), ("x,;y",)])


def test_what_spreadsheets_write_is_read(path: Path) -> None:
    """A byte order mark, Windows line ends, quoted line breaks and blank lines are read as they are meant."""
    header, columns = read(path, '\ufeffname,note\r\nAnn,"two\r\nlines"\r\n\r\nBob,"said ""no"""\r\n')
    assert header == ["name", "note"]
    assert columns == [("Ann", "Bob"), ("two\r\nlines", 'said "no"')]


def test_a_chunk_of_blank_lines_is_not_the_end(path: Path) -> None:
    """Blank lines are no rows, however many follow each other."""
    path.write_text("a\n1\n" + "\n" * 50 + "2\n")
    with closing(CsvFile(path)) as file:
        assert [file.columns(1), file.columns(1), file.columns(1)] == [[("1",)], [("2",)], []]


def test_short_rows_are_filled_up(path: Path) -> None:
    """Cells missing at the end of a row are empty ones."""
    assert read(path, "a,b,c\n1\n2,3,4\n")[1] == [("1", "2"), ("", "3"), ("", "4")]


def test_a_header_alone_is_a_file(path: Path) -> None:
    """A file may have no rows."""
    assert read(path, "a,b") == (["a", "b"], [])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not even a header"),
        (b"\n\n", "not even a header"),
        (b"a,b\n1,2,3\n", "more cells than the header"),
        (b'a,b\n1,"2" 3\n', "Line 2 is not CSV"),
        (b'a,b\n1,"2\n', "not CSV"),
        (b"\xff\xfe\x00a", "UTF-8"),
        (b"a,b\n" + b"1,2\n" * 100_000 + b"\xff,1\n", "UTF-8"),
        (b"a\n" + b"x" * 200_000 + b"\n", "field larger than field limit"),
        (b",".join([b"a"] * (MAX_COLUMNS + 1)), "columns"),
    ],
    ids=["empty", "blank", "long row", "stray quote", "open quote", "UTF-16", "late bytes", "huge cell", "wide"],
)
def test_what_is_no_csv_is_said(path: Path, content: bytes, says: str) -> None:
    """What cannot be read raises BadCsv with words for the person who uploaded it."""
    with pytest.raises(BadCsv, match=says):
        read(path, content, rows=1_000_000)


def test_lines_are_counted_without_reading_them(path: Path) -> None:
    """The number of line ends is counted over all blocks of a file."""
    path.write_bytes(b"x" * 999_999 + b"\n\n" + b"y" * 2_000_000 + b"\n" + b"z")
    assert count_lines(path) == 3
