"""The engine: the thread that does everything to the file, and puts what waits together into one transaction."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson

from asyncq.errors import AsyncqError
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.directory import Directory
from asyncq.sqlite.doorbell import Doorbell
from asyncq.sqlite.job import Job
from asyncq.sqlite.rings import Ringer
from asyncq.sqlite.schema import SATED
from asyncq.sqlite.transaction import Transaction

MAX_TOGETHER: Final = 200
"""Pieces of work in one transaction."""

LOOK_AT_LOOP_EVERY: Final = 60.0
"""Seconds after which an idle thread looks whether its event loop was closed under it."""

_FOLD_EVERY: Final = 0.02
_OF_BELLS: Final = "rtrim(address, '0123456789') IN (SELECT value || ':' FROM json_each(?1))"
_FORGET_LISTENERS: Final = f"DELETE FROM listeners WHERE {_OF_BELLS}"
_FORGET_SCHEDULERS: Final = f"DELETE FROM schedulers WHERE {_OF_BELLS}"
_FORGET_CONSUMERS: Final = f"UPDATE consumers SET hunger = {SATED} WHERE {_OF_BELLS}"


class Engine:
    """Does jobs in a thread of its own, in the order in which they come; what only reads goes first."""

    def __init__(self, connection: Connection, ringer: Ringer, doorbell: Doorbell) -> None:
        self._connection = connection
        self._connection.waiting = self._read_meanwhile
        self._ringer = ringer
        self._doorbell = doorbell
        self._directory = Directory()
        self._loop = asyncio.get_running_loop()
        self._put_off: list[Job[Any]] = []
        self._inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="asyncq-sqlite", daemon=True)
        self._stopped = asyncio.Event()
        self._is_stopping = False
        self._was_open = False
        self._fold_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job[Any]) -> None:
        """Have a job done."""
        self._inbox.put(job)

    async def stop(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._inbox.put(None)
        await self._stopped.wait()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._put_off or not self._is_stopping:
                if jobs := self._next_jobs():
                    self._serve(jobs)
                elif self._loop.is_closed():  # without a goodbye: nobody will ever say it
                    self._doorbell.close()
                    return
                self._ringer.retry()
        finally:
            self._connection.close()
            self._ringer.close()
            self._call(self._stopped.set)

    def _next_jobs(self) -> list[Job[Any]]:
        """Return what waits; wait for something, but not for ever."""
        jobs, self._put_off = self._put_off, []
        timeout = min(self._ringer.seconds_to_retry(), LOOK_AT_LOOP_EVERY)
        with suppress(Empty):
            job = self._inbox.get_nowait() if jobs else self._inbox.get(timeout=timeout)
            while job is not None:
                jobs.append(job)
                if len(jobs) >= MAX_TOGETHER:
                    return jobs
                job = self._inbox.get_nowait()
            self._is_stopping = True
        return jobs

    def _serve(self, jobs: Sequence[Job[Any]]) -> None:
        jobs = [job for job in jobs if not job.future.done()]
        if not jobs:
            return
        self._connection.deadline = min(job.deadline for job in jobs)
        try:
            self._open()
        except (AsyncqError, sqlite3.Error) as error:
            self._fail(jobs, error)
        else:
            reads = [job for job in jobs if job.reading is not None]
            for job in reads:
                self._read(job)
            self._deliver(reads)
            self._write([job for job in jobs if job.writing is not None])
        forget_the_dead(self._connection, self._ringer)
        self._fold_log()

    def _open(self) -> None:
        if self._connection.open():
            self._directory.clear()
            if self._was_open:  # another file: whatever anybody waits for is gone
                self._call(self._doorbell.ring_all)
            self._was_open = True

    def _read(self, job: Job[Any]) -> None:
        assert job.reading is not None
        try:
            job.result = job.reading(self._connection)
        except sqlite3.Error as error:
            job.error = self._connection.unavailable(error)
        except Exception as error:  # whatever it is, it belongs to who asked
            job.error = error

    def _read_meanwhile(self) -> None:
        """Do what only reads while others hold the write lock."""
        with suppress(Empty):
            while (job := self._inbox.get_nowait()) is not None:
                if job.reading is not None:
                    self._read(job)
                    self._deliver([job])
                else:
                    self._put_off.append(job)
            self._is_stopping = True

    def _write(self, jobs: Sequence[Job[Any]]) -> None:
        """Do all jobs in one transaction; where that fails, each in its own, so that only the faulty one fails."""
        if not jobs:
            return
        transaction = Transaction(self._connection, self._directory)
        self._connection.deadline = min(job.deadline for job in jobs)
        try:
            self._connection.begin(is_durable=any(job.is_durable for job in jobs))
        except sqlite3.Error as error:
            self._fail_late(jobs, error)
            return
        try:
            for job in jobs:
                assert job.writing is not None
                job.result = job.writing(transaction)
            self._connection.commit()
        except Exception as error:
            self._undo()
            if len(jobs) == 1:
                self._fail(jobs, error)
            else:
                for job in jobs:
                    self._write([job])
            return
        self._ringer.ring(transaction.rings)
        self._deliver(jobs)

    def _fail_late(self, jobs: Sequence[Job[Any]], error: sqlite3.Error) -> None:
        """Fail the jobs whose time is over, and go on with the others."""
        now = time.monotonic()
        late = [job for job in jobs if job.deadline <= now]
        self._fail(late or jobs, error)
        if late:
            self._write([job for job in jobs if job.deadline > now])

    def _undo(self) -> None:
        self._directory.clear()
        try:
            self._connection.rollback()
        except sqlite3.Error:
            self._connection.close()

    def _fail(self, jobs: Sequence[Job[Any]], error: Exception) -> None:
        mapped = self._connection.unavailable(error) if isinstance(error, sqlite3.Error) else error
        if mapped is not error:
            mapped.__cause__ = error
        for job in jobs:
            job.error = mapped
        self._deliver(jobs)

    def _deliver(self, jobs: Sequence[Job[Any]]) -> None:
        if jobs:
            self._call(_deliver_all, jobs)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop was closed without a goodbye: there is nobody left to tell
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _fold_log(self) -> None:
        now = time.monotonic()
        if now >= self._fold_at:
            self._connection.fold_log()
            self._fold_at = time.monotonic() + _FOLD_EVERY


def forget_the_dead(connection: Connection, ringer: Ringer) -> None:
    """Ring those no more whose process was found to be gone; their leases say what becomes of their messages."""
    if not ringer.dead:
        return
    bells, ringer.dead = orjson.dumps(list(ringer.dead)).decode(), set()
    with suppress(sqlite3.Error):
        connection.begin(is_durable=False)
        try:
            connection.change(_FORGET_LISTENERS, (bells,))
            connection.change(_FORGET_SCHEDULERS, (bells,))
            connection.change(_FORGET_CONSUMERS, (bells,))
            connection.commit()
        finally:
            connection.rollback()


def _deliver_all(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        job.deliver()
