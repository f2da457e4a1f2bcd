"""Bundles: any number of rows as two parameters of one statement.

The small columns travel as JSON, the bytes of all rows end to end in one blob. A statement for each row, or
executemany, gives up the interpreter's lock for each row, and gets it back only when a busy event loop lets go, while
all other processes wait for this one's transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson


def as_json(values: Sequence[Any]) -> str:
    """Return plain values as the JSON that SQLite's json_each reads."""
    return orjson.dumps(values).decode()


def bundled(rows: Iterable[tuple[Any, ...]]) -> tuple[str, bytes]:
    """Return the JSON and the blob of rows whose last column is bytes.

    In the JSON that column stands as two, start (from 1) and length: what SQLite's substr takes. (Of an empty
    blob it makes NULL: hence each `ifnull`.)
    """
    table: list[tuple[Any, ...]] = []
    parts: list[bytes] = []
    start = 1
    for *columns, data in rows:
        table.append((*columns, start, len(data)))
        parts.append(data)
        start += len(data)
    return as_json(table), b"".join(parts)
