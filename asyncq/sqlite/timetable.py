"""The timetable in one SQLite file."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from asyncq.clock import Clock
from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.faults import StorageFull
from asyncq.sqlite.publishing import publish_all
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Answer, Change, Changed, Entry, Timetable

logger = logging.getLogger("asyncq.sqlite")

REGISTER_EVERY: Final = 30.0
"""Seconds after which who watches makes sure that it is still known: the file may be another."""

_SPACE: Final = "(SELECT id FROM spaces WHERE name = ?1)"
_FIRST: Final = f"""
SELECT name, record, next_ms FROM schedules WHERE space = {_SPACE} AND next_ms IS NOT NULL
ORDER BY next_ms, name LIMIT ?2
"""
_FIND: Final = f"""
SELECT name, record, next_ms FROM schedules
WHERE space = {_SPACE} AND name IN (SELECT value FROM json_each(?2))
"""
_ALL: Final = f"SELECT name, record, next_ms FROM schedules WHERE space = {_SPACE} ORDER BY name"

_RECORD: Final = "SELECT record FROM schedules WHERE space = ?1 AND name = ?2"
_NEXT: Final = "SELECT min(next_ms) FROM schedules WHERE space = ?1 AND next_ms IS NOT NULL"
_PUT: Final = """
INSERT INTO schedules(space, name, record, next_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT(space, name) DO UPDATE SET record = excluded.record, next_ms = excluded.next_ms
"""
_REMOVE: Final = "DELETE FROM schedules WHERE space = ?1 AND name = ?2"

_DECLARE: Final = """
INSERT INTO declared(space, name, until_ms) SELECT DISTINCT ?1, value, ?3 FROM json_each(?2) WHERE true
ON CONFLICT(space, name) DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)
"""
_LAPSE: Final = (
    """
    DELETE FROM schedules
    WHERE space = ?1 AND name IN (SELECT name FROM declared WHERE space = ?1 AND until_ms <= ?2)
    """,
    "DELETE FROM declared WHERE space = ?1 AND until_ms <= ?2",
)
_UNDECLARE: Final = "DELETE FROM declared WHERE space = ?1 AND name = ?2"
_MISSING: Final = """
SELECT value FROM json_each(?2)
WHERE NOT EXISTS (SELECT 1 FROM schedules WHERE space = ?1 AND name = value) ORDER BY key
"""

_WATCH: Final = "INSERT OR IGNORE INTO schedulers(address, space) VALUES (?1, ?2)"
_UNWATCH: Final = "DELETE FROM schedulers WHERE address = ?1"
_WATCHERS: Final = "SELECT address FROM schedulers WHERE space = ?1"

_NO_LENGTHS: Final[Mapping[str, int]] = {}


class SQLiteTimetable(Timetable):
    """Remembers schedules in a local file, which any number of processes share.

    Args:
        database: the file.
        namespace: the transport's, or the ledger's.
        clock: theirs.
        max_lengths: how many may wait in a queue, where that is bounded.
    """

    def __init__(
        self,
        database: SQLiteDatabase,
        namespace: str,
        clock: Clock,
        max_lengths: Mapping[str, int] = _NO_LENGTHS,
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock
        self._max_lengths = max_lengths

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def first(self, limit: int) -> Sequence[Entry]:
        return await self._database.read(lambda file: _entries(file, _FIRST, (self._namespace, limit)))

    async def find(self, names: Sequence[str]) -> Sequence[Entry | None]:
        entries = await self._database.read(lambda file: _entries(file, _FIND, (self._namespace, as_json(names))))
        found = {entry.name: entry for entry in entries}
        return [found.get(name) for name in names]

    async def entries(self) -> Sequence[Entry]:
        return await self._database.read(lambda file: _entries(file, _ALL, (self._namespace,)))

    async def change(self, changes: Sequence[Change]) -> Sequence[Answer]:
        def work(transaction: Transaction) -> list[Answer]:
            space = transaction.space(self._namespace)
            return [self._change(transaction, space, change) for change in changes]

        try:
            return await self._database.write(work)
        except StorageFull as error:
            return [PublishRefused(str(error)) for _ in changes]

    async def declare(self, names: Sequence[str], *, until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        def work(transaction: Transaction) -> list[str]:
            space, listed = transaction.space(self._namespace), as_json(names)
            transaction.change(_DECLARE, (space, listed, until_ms))
            if lapsed_ms is not None:
                for sql in _LAPSE:
                    transaction.change(sql, (space, lapsed_ms))
            return [name for (name,) in transaction.rows(_MISSING, (space, listed))]

        return await self._database.write(work, is_durable=False)

    async def watch(self, changed: Callable[[], None]) -> None:
        address = self._database.doorbell.connect(lambda _: changed())

        def register(transaction: Transaction) -> None:
            transaction.change(_WATCH, (address, transaction.space(self._namespace)))

        try:
            await self._database.write(register, is_durable=False)
            changed()
            while True:
                await asyncio.sleep(REGISTER_EVERY)
                self._database.doorbell.mend()
                try:
                    await self._database.write(register, is_durable=False)
                except BrokerUnavailable as error:
                    logger.debug("Could not register: %s", error)
                changed()
        finally:
            self._database.doorbell.disconnect(address)
            with suppress(BrokerUnavailable):  # the first process that rings in vain removes it
                await self._database.write(lambda transaction: _unregister(transaction, address), is_durable=False)

    def _change(self, transaction: Transaction, space: int, change: Change) -> Answer:
        rows = transaction.rows(_RECORD, (space, change.name))
        record = rows[0][0] if rows else None
        if record == change.record:
            return Changed.ALREADY
        if record != change.seen:
            return Changed.STALE
        if change.envelopes:
            refusal = publish_all(transaction, space, change.envelopes, self._max_lengths, self._clock.now_ms())
            if refusal is not None:
                return refusal
        if change.record is None:
            for sql in (_REMOVE, _UNDECLARE):
                transaction.change(sql, (space, change.name))
            return Changed.DONE
        [(first_ms,)] = transaction.rows(_NEXT, (space,))
        transaction.change(_PUT, (space, change.name, change.record, change.next_ms))
        if change.next_ms is not None and (first_ms is None or change.next_ms < first_ms):
            for (address,) in transaction.rows(_WATCHERS, (space,)):
                transaction.ring(address, Ring(0))
        return Changed.DONE


def _entries(file: Connection, sql: str, parameters: tuple[object, ...]) -> list[Entry]:
    return [Entry(*row) for row in file.rows(sql, parameters)]


def _unregister(transaction: Transaction, address: str) -> None:
    transaction.change(_UNWATCH, (address,))
