"""One thread's connection to the file: opened with checks, patient in its own way, its errors in our own terms."""

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.sqlite.checks import check_place
from asyncq.sqlite.faults import is_locked, refusal, unavailable
from asyncq.sqlite.schema import APPLICATION_ID, NAMES, SCHEMA_VERSION, TABLES

logger = logging.getLogger("asyncq.sqlite")

Parameters: TypeAlias = Sequence[Any]
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

WAL_LIMIT: Final = 8 << 20
"""Bytes of the write-ahead log at which it is copied into the file."""

_CHECKPOINT_PATIENCE_MS: Final = 250
"""How long a checkpoint may wait for a gap between other processes' transactions."""

_WARNS_OF_NUMBERS: Final = (3, 12) <= sys.version_info < (3, 12, 4)
"""Whether this Python takes `?1` for a name, and warns that it wants a mapping (cpython issue 117995)."""

_GAP: Final = 0.01
"""Seconds that a connection leaves to others after it found one at work on the log, which needs a moment of silence."""
_CHECK_FILE_EVERY: Final = 1.0
_SHORT_PAUSES: Final = 10
_SHORT_PAUSE: Final = 0.0002
_PAUSE: Final = 0.001
"""Seconds between two tries of what was locked: the first few, and all others.

SQLite wakes nobody when a lock is given up. Its own busy_timeout asks at ever longer intervals, so that who has waited
the longest asks the least (0.8 s seen).
"""


class Connection:
    """A connection that opens itself when it is first used, and again after the file was replaced.

    It waits for a lock by itself, with short even pauses: SQLite's own busy handler backs off up to 100 ms, so that one
    busy writer keeps the others out for seconds.

    Args:
        path: the file, absolute.
        synchronous: "FULL": a commit survives a power cut. "NORMAL": a power cut may take the last ones.

    Attributes:
        deadline: the moment by `time.monotonic()` at which waiting for a lock ends.
        waiting: called in the pauses of waiting to begin a transaction, when there may be something better to do.
    """

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        self._wal = f"{path}-wal"
        self._synchronous = synchronous
        self._set_synchronous: str = ""
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._checked_at = 0.0
        self.deadline = 0.0
        self.waiting: Callable[[], None] = _nothing

    def open(self) -> bool:
        """Open the file, making it when it is not there. Returns False where it was open already.

        Raises:
            BrokerUnavailable: the file was deleted or replaced since it was opened. The next call opens the new one.
            ConfigurationError: it cannot be used.
        """
        if self._connection is not None:
            self._check_file()
            return False
        try:
            self._connect()
        except sqlite3.Error as error:
            self.close()
            raise refusal(error, self._path) or self.unavailable(error) from error
        except BaseException:
            self.close()
            raise
        return True

    def close(self) -> None:
        """Close. The last of all processes to do so folds the log into the file."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            self._set_synchronous = ""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one statement and return all of its rows. A half-read cursor would hold back every checkpoint."""
        return self._step(sql, parameters).fetchall()

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return how many rows it changed."""
        return self._step(sql, parameters).rowcount

    def begin(self, *, is_durable: bool = True) -> None:
        """Begin a transaction that has the write lock from the start: a later upgrade could fail at once.

        Args:
            is_durable: False: a power cut may undo it (never a part of it, and never without all that came after), so
                that its commit need not wait for the disk.
        """
        synchronous = self._synchronous if is_durable else "NORMAL"
        if synchronous != self._set_synchronous:
            self._step(f"PRAGMA synchronous = {synchronous}")
            self._set_synchronous = synchronous
        self._step("BEGIN IMMEDIATE", waiting=self.waiting)

    def commit(self) -> None:
        """End the transaction; from now on others see it."""
        self._step("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, where SQLite has not done so itself."""
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def fold_log(self) -> None:
        """Copy the log into the file, so that it begins anew, when it has grown long and nobody else is at it.

        RESTART holds the write lock meanwhile, as the fault at WAL_RESET_FIXED asks for, and under load it is the only
        way that ever comes to an end. It keeps the log's length: writing over old pages takes half the time of adding
        new ones.
        """
        try:
            if not self._is_log_long():
                return
            try:
                self._step(f"PRAGMA busy_timeout = {_CHECKPOINT_PATIENCE_MS}")
                ((is_busy, _, _),) = self.rows("PRAGMA wal_checkpoint(RESTART)")
            finally:
                self._step("PRAGMA busy_timeout = 0")
            if is_busy:  # another process is at it, and needs a gap between the transactions of all others
                time.sleep(_GAP)  # in the file's own thread: SQLite tells nobody when they are done
        except (OSError, sqlite3.Error) as error:
            logger.debug("The log could not be folded: %s", error)

    def unavailable(self, error: sqlite3.Error) -> BrokerUnavailable:
        """Return what a failure of SQLite means to callers."""
        return unavailable(error, self._path)

    def _step(
        self, sql: str, parameters: Parameters = (), *, waiting: Callable[[], None] | None = None
    ) -> sqlite3.Cursor:
        connection = self._connection
        if connection is None:
            raise BrokerUnavailable(f"The database file {str(self._path)!r} is closed.")
        bound = _by_number(parameters) if _WARNS_OF_NUMBERS else parameters
        pauses = 0
        while True:
            try:
                return connection.execute(sql, bound)
            except sqlite3.OperationalError as error:
                if not is_locked(error) or time.monotonic() >= self.deadline:
                    raise
            if waiting is not None:
                waiting()
            # In the file's own thread, which can do nothing else: nobody is told when another process's lock is free.
            time.sleep(_SHORT_PAUSE if pauses < _SHORT_PAUSES else _PAUSE)
            pauses += 1

    def _is_log_long(self) -> bool:
        """Say whether the page at WAL_LIMIT belongs to the log's present round: it bears the signs of the log's head.

        (https://sqlite.org/fileformat2.html#the_write_ahead_log; the size of the file is that of the longest round.)
        """
        with open(self._wal, "rb") as log:
            head = log.read(32)
            frame_size = int.from_bytes(head[8:12], "big") + 24
            log.seek(32 + WAL_LIMIT // frame_size * frame_size)
            frame = log.read(24)
        return len(frame) == 24 and frame[8:16] == head[16:24]

    def _connect(self) -> None:
        check_place(self._path)
        # The thread that opens it is the only one to use it, but not always the one that finds it unused and drops it.
        self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        mode = self.rows("PRAGMA journal_mode = WAL")[0][0]
        if mode != "wal":
            raise ConfigurationError(f"{str(self._path)!r} cannot keep a write-ahead log (its journal is {mode!r}).")
        self._step("PRAGMA wal_autocheckpoint = 0")  # see fold_log
        self._step(f"PRAGMA journal_size_limit = {2 * WAL_LIMIT}")
        self._make_tables()
        found = os.stat(self._path)
        self._file = (found.st_dev, found.st_ino)
        self._checked_at = time.monotonic()

    def _make_tables(self) -> None:
        """Make the tables, or check that they are ours; either way, prove that the file can be written."""
        self.begin()
        try:
            if self._is_new():
                for statement in TABLES.split(";\n"):
                    self._step(statement)
                self._step(f"PRAGMA application_id = {APPLICATION_ID}")
            else:
                self._check_tables()
            self._step(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def _is_new(self) -> bool:
        is_marked = self._number("application_id") != 0 or self._number("user_version") != 0
        return not is_marked and not self.rows("SELECT 1 FROM sqlite_schema LIMIT 1")

    def _check_tables(self) -> None:
        if self._number("application_id") != APPLICATION_ID:
            raise ConfigurationError(
                f"{str(self._path)!r} is the database of another program. Give asyncq a file of its own."
            )
        if (version := self._number("user_version")) != SCHEMA_VERSION:
            raise ConfigurationError(
                f"{str(self._path)!r} has tables of version {version}; this asyncq knows {SCHEMA_VERSION}. "
                "Use one version of asyncq in all processes that share the file"
                f"{', or give this one another file' if version < SCHEMA_VERSION else ''}."
            )
        if missing := NAMES.difference(name for (name,) in self.rows("SELECT name FROM sqlite_schema")):
            raise ConfigurationError(
                f"{str(self._path)!r} has no {min(missing)!r}: a development version of asyncq has made it. "
                "Give this one another file, or remove that one if nothing in it is needed."
            )

    def _number(self, pragma: str) -> int:
        return self.rows(f"PRAGMA {pragma}")[0][0]

    def _check_file(self) -> None:
        """Look now and then whether the path still leads to the file that is open.

        SQLite does not: it goes on writing into a deleted file, while newcomers find an empty new one.
        """
        now = time.monotonic()
        if now < self._checked_at + _CHECK_FILE_EVERY:
            return
        self._checked_at = now
        try:
            found = os.stat(self._path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            self.close()
            raise BrokerUnavailable(f"The database file {str(self._path)!r} was deleted or replaced while it was open.")


def _nothing() -> None:
    pass


def _by_number(parameters: Parameters) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(parameters, 1)}
