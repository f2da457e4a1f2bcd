"""The database: the file, and the one thread of this process that works on it."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncq.errors import BrokerUnavailable
from asyncq.findings import Finding
from asyncq.sqlite.checks import check_library, findings_of, has_wal_reset_bug
from asyncq.sqlite.connection import Connection, Synchronous
from asyncq.sqlite.doorbell import Doorbell, doorbell_for
from asyncq.sqlite.engine import Engine
from asyncq.sqlite.job import Job, Reading, Writing
from asyncq.sqlite.rings import Ringer

logger = logging.getLogger("asyncq")

T = TypeVar("T")

_GRACE: Final = 1.0
"""Seconds beyond the command timeout after which a thread that does not answer (its disk hangs) is given up."""


class SQLiteDatabase:
    """One local file, shared by a transport, a store, and any number of other processes.

    It belongs to one event loop of one process: after a fork, or on a new loop, make a new one.

    Args:
        path: the file; made when it is not there, in a folder that is.
        command_timeout: seconds that anything may take, waiting for other processes' transactions included.
        synchronous: "FULL": what was confirmed survives a power cut. "NORMAL": faster for single calls; a power cut may
            take the last ones.
    """

    def __init__(self, path: str | Path, *, command_timeout: float = 5, synchronous: Synchronous = "FULL") -> None:
        self.path = Path(os.path.realpath(path))
        self.command_timeout = command_timeout
        self.doorbell: Doorbell = doorbell_for(self.path)
        self._synchronous: Synchronous = synchronous
        self._pid = os.getpid()
        self._users: set[object] = set()
        self._engine: Engine | None = None

    async def open(self, user: object) -> None:
        """Open the file for one more user. Doing so twice is harmless.

        Raises:
            ConfigurationError: this file can't be used.
            BrokerUnavailable: it stayed locked.
        """
        self._check_process()
        if not self._users:
            check_library()
            self._start()
        self._users.add(user)
        try:
            await self.read(_nothing)
        except BaseException:
            await self.close(user)
            raise

    async def close(self, user: object) -> None:
        """Let one user go; the last one ends the thread and closes the file."""
        if user not in self._users:
            return
        self._users.discard(user)
        if self._users or self._engine is None:
            return
        engine, self._engine = self._engine, None
        self.doorbell.close()
        if self._pid == os.getpid():  # a forked child has no such thread
            await engine.stop()

    async def read(self, work: Reading[T]) -> T:
        """Run statements that only read, each one a snapshot of its own.

        Raises:
            BrokerUnavailable: there was no answer in time.
        """
        return await self._submit(Job(work, None, self._deadline()))

    async def write(self, work: Writing[T], *, is_durable: bool = True) -> T:
        """Run a piece of work in a transaction, together with what else waits to be written.

        Args:
            work: called in the database's thread; may be called again when the first try had to be undone.
            is_durable: False: a power cut may undo it without harm, so that it need not wait for the disk.

        Raises:
            BrokerUnavailable: there was no answer in time; the outcome is unknown.
        """
        return await self._submit(Job(None, work, self._deadline(), is_durable=is_durable))

    def check(self) -> Sequence[Finding]:
        """Return what is to be said of the file, while it is open, and of the library."""
        return findings_of(self.path, self._synchronous)

    def connect(self) -> tuple[Connection, Ringer]:
        """Return a connection and a ringer for another thread's own use; both are to be closed there."""
        return Connection(self.path, self._synchronous), Ringer(self.path)

    def _start(self) -> None:
        if has_wal_reset_bug():
            logger.info(
                "SQLite %s has the WAL-reset bug: rarely, a file that several processes write is damaged. "
                "asyncq makes it rarer still; a Python with SQLite 3.51.3 or later is safe from it.",
                sqlite3.sqlite_version,
            )
        self._engine = Engine(Connection(self.path, self._synchronous), Ringer(self.path), self.doorbell)
        self._engine.start()

    async def _submit(self, job: Job[Any]) -> Any:
        self._check_process()
        engine = self._engine
        if engine is None:
            raise BrokerUnavailable(f"The database {str(self.path)!r} is closed.")
        engine.submit(job)
        timer = asyncio.get_running_loop().call_later(self.command_timeout + _GRACE, job.give_up, str(self.path))
        try:
            return await job.future
        finally:
            timer.cancel()

    def _deadline(self) -> float:
        return time.monotonic() + self.command_timeout

    def _check_process(self) -> None:
        # SQLite's locks do not survive a fork, and neither does the thread.
        if self._pid != os.getpid():
            raise BrokerUnavailable("This SQLiteDatabase was made before a fork; make a new one in the new process.")


def _nothing(connection: Connection) -> None:
    """Read nothing: the file is open."""
