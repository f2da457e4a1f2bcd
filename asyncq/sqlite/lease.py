"""The lease of a consumer, in the hands of a thread that is never the event loop's."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from asyncq.clock import Clock
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.directory import Directory
from asyncq.sqlite.engine import forget_the_dead
from asyncq.sqlite.leaving import reclaim
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Lease

T = TypeVar("T")

# Whether something lies there of which the consumer was not told comes along.
_RENEW: Final = """
UPDATE consumers SET lease_end_ms = ?2 + lease_ms, about = ifnull(?3, about) WHERE id = ?1
RETURNING EXISTS(SELECT 1 FROM severed WHERE consumer = ?1)
"""
_NEXT_END: Final = """
SELECT min(lease_end_ms) FROM consumers
WHERE id <> ?1 AND space = (SELECT id FROM spaces WHERE name = ?2)
"""


class SQLiteLease(Lease):
    """A lease on a connection of its own, so that it waits for nobody in this process.

    Args:
        database: the file.
        namespace: the consumer's.
        consumer: its number.
        clock: tells the time.
        alert: called, in the lease's thread, when the consumer has missed the ring for what was severed from it.
        is_ledgers: what it reclaims are orphans.
    """

    def __init__(
        self,
        database: SQLiteDatabase,
        namespace: str,
        consumer: int,
        clock: Clock,
        alert: Callable[[], None],
        *,
        is_ledgers: bool = False,
    ) -> None:
        self._connection, self._ringer = database.connect()
        self._timeout = database.command_timeout
        self._namespace = namespace
        self._consumer = consumer
        self._clock = clock
        self._alert = alert
        self._is_ledgers = is_ledgers

    def renew(self, about: bytes | None = None) -> bool:
        self._ringer.retry()
        renewed = self._call(lambda file: file.rows(_RENEW, (self._consumer, self._clock.now_ms(), about)))
        if renewed and renewed[0][0]:
            self._alert()
        return bool(renewed)

    def next_end(self) -> float | None:
        end_ms = self._call(lambda file: file.rows(_NEXT_END, (self._consumer, self._namespace)))[0][0]
        return None if end_ms is None else (end_ms - self._clock.now_ms()) / 1000

    def reclaim(self) -> Mapping[str, int]:
        self._ringer.retry()
        return self._call(self._reclaim)

    def close(self) -> None:
        self._connection.close()
        self._ringer.close()

    def _reclaim(self, connection: Connection) -> dict[str, int]:
        transaction = Transaction(connection, Directory())
        now_ms = self._clock.now_ms()  # not later: those whose leases run out while the file is locked wait as we do
        connection.begin()
        try:
            space, orphaned_ms = transaction.space(self._namespace), now_ms if self._is_ledgers else None
            counts = reclaim(transaction, space, self._consumer, now_ms, orphaned_ms=orphaned_ms)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        self._ringer.ring(transaction.rings)
        forget_the_dead(connection, self._ringer)
        return counts

    def _call(self, work: Callable[[Connection], T]) -> T:
        self._connection.deadline = time.monotonic() + self._timeout
        self._connection.open()
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise self._connection.unavailable(error) from error
