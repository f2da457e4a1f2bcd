"""The faults of SQLite in our own terms."""

import sqlite3
from pathlib import Path
from typing import Final

from asyncq.errors import BrokerUnavailable, ConfigurationError

_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class StorageFull(BrokerUnavailable):
    """The disk or a quota is full, or the file as large as it may be. Nothing of the transaction was stored."""


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another process has what was wanted, so that it may be had later."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _LOCKED


def unavailable(error: sqlite3.Error, path: Path) -> BrokerUnavailable:
    """Return what a failure of SQLite means to callers."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return StorageFull(f"There is no room left for the database file {str(path)!r}: {error}.")
    if code == sqlite3.SQLITE_IOERR_WRITE:  # whatever a write fails of but a full disk
        return StorageFull(
            f"Nothing can be written to {str(path)!r}: {error}. Has a quota run out? Is the disk read-only?"
        )
    if is_locked(error):
        return BrokerUnavailable(
            f"The database file {str(path)!r} stayed locked. Is another process frozen inside a transaction?"
        )
    return BrokerUnavailable(f"The database file {str(path)!r} cannot be used: {error}.")


def refusal(error: sqlite3.Error, path: Path) -> ConfigurationError | None:
    """Return what is wrong with the file where opening it failed for good; None: it may pass."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return ConfigurationError(f"{str(path)!r} is not a SQLite database. Name another file, or remove it.")
        case sqlite3.SQLITE_READONLY:
            return ConfigurationError(
                f"The database file {str(path)!r} cannot be written: {error}. "
                "This user needs to write the file and its folder."
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return ConfigurationError(
                f"The database file {str(path)!r} cannot be opened: {error}. Check the rights of it and its folder."
            )
        case _:
            return None
