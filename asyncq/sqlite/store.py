"""The store in one SQLite file."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from asyncq.clock import Clock, SystemClock
from asyncq.errors import BrokerUnavailable
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import ENDED, RUNNING, SCHEDULED
from asyncq.sqlite.telling import tell
from asyncq.sqlite.transaction import Transaction
from asyncq.store import Address, CallKey, Listener, Notice, Place, Sighting, Store

logger = logging.getLogger("asyncq.sqlite")

WATCH_MS: Final = 600_000
"""How long a watcher is remembered that does not look again."""

RESYNC_EVERY: Final = 30.0
"""Seconds after which a listener looks at everything unasked: who commits an end and is killed before it rings tells
nobody."""

_LOOK: Final = """
SELECT keys.key, queues.name, state, due_ms, expires_ms, crashes, progress, progress_end_ms, body
FROM json_each(?2) AS keys
CROSS JOIN calls ON calls.id = keys.value AND calls.space = (SELECT id FROM spaces WHERE name = ?1)
CROSS JOIN queues ON queues.id = calls.queue
"""
_WATCH: Final = """
INSERT OR REPLACE INTO watchers(space, id, address, expires_ms) SELECT ?1, value, ?3, ?4 FROM json_each(?2)
"""
_UNWATCH: Final = """
DELETE FROM watchers WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND address = ?3
"""
_LISTEN: Final = "INSERT OR IGNORE INTO listeners(address, space) VALUES (?1, ?2)"
_HANG_UP: Final = "DELETE FROM listeners WHERE address = ?1"
_REPORT: Final = f"""
UPDATE calls SET progress = ?3, progress_end_ms = ?4 WHERE id = ?1 AND space = ?2 AND state <> {ENDED}
"""


class SQLiteStore(Store):
    """Remembers calls in a local file, beside the transport that writes what it reads.

    Args:
        database: the file; give the transport the same object.
        namespace: the transport's.
        clock: the transport's.
    """

    def __init__(self, database: SQLiteDatabase, *, namespace: str, clock: Clock | None = None) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._listener: Listener | None = None
        self._address: Address = ""

    async def open(self) -> None:
        await self._database.open(self)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener = None
            self._database.doorbell.disconnect(self._address)
            with suppress(BrokerUnavailable):  # the first process that rings in vain removes it
                await self._database.write(self._hang_up, is_durable=False)
        await self._database.close(self)

    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        ids = [key.id for key in keys]
        if not watcher:
            return await self._database.read(lambda file: self._look(file, ids))
        return await self._database.write(lambda transaction: self._watch(transaction, ids, watcher), is_durable=False)

    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        def work(transaction: Transaction) -> None:
            ids = as_json([key.id for key in keys])
            transaction.change(_UNWATCH, (transaction.space(self._namespace), ids, watcher))

        await self._database.write(work, is_durable=False)

    async def listen(self, listener: Listener) -> Address:
        self._address = self._database.doorbell.connect(self._hear)
        self._listener = listener
        await self._database.write(self._listen, is_durable=False)
        return self._address

    async def run(self) -> None:
        """Look at everything now and then, in case that somebody died before telling."""
        while True:
            await asyncio.sleep(RESYNC_EVERY)
            self._database.doorbell.mend()
            try:
                await self._database.write(self._listen, is_durable=False)  # the file may be another
            except BrokerUnavailable as error:
                logger.debug("Could not register: %s", error)
            self._hear(Ring(0))

    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        def work(transaction: Transaction) -> None:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            if transaction.change(_REPORT, (key.id, space, progress, now_ms + ttl_ms)):
                tell(transaction, space, [(Notice(key.id, progress=progress), reply)], now_ms)

        await self._database.write(work, is_durable=False)

    def _hear(self, ring: Ring) -> None:
        if self._listener is None:
            return
        if ring.notices is None:
            self._listener.resync()
        else:
            self._listener.notice(ring.notices)

    def _listen(self, transaction: Transaction) -> None:
        transaction.change(_LISTEN, (self._address, transaction.space(self._namespace)))

    def _hang_up(self, transaction: Transaction) -> None:
        transaction.change(_HANG_UP, (self._address,))

    def _look(self, file: Connection | Transaction, ids: Sequence[str]) -> list[Sighting | None]:
        now_ms = self._clock.now_ms()
        sightings: list[Sighting | None] = [None] * len(ids)
        for index, *columns in file.rows(_LOOK, (self._namespace, as_json(ids))):
            sightings[index] = _sighting(now_ms, *columns)
        return sightings

    def _watch(self, transaction: Transaction, ids: Sequence[str], watcher: Address) -> list[Sighting | None]:
        sightings = self._look(transaction, ids)
        going_on = [id for id, seen in zip(ids, sightings, strict=True) if seen is not None and seen.record is None]
        if going_on:
            end_ms = self._clock.now_ms() + WATCH_MS
            transaction.change(_WATCH, (transaction.space(self._namespace), as_json(going_on), watcher, end_ms))
        return sightings


def _sighting(
    now_ms: int,
    queue: str,
    state: int,
    due_ms: int,
    expires_ms: int | None,
    crashes: int,
    progress: bytes | None,
    progress_end_ms: int | None,
    body: bytes,
) -> Sighting | None:
    if state == ENDED:
        return Sighting(queue, record=body) if now_ms < (expires_ms or 0) else None
    if state == RUNNING:
        place = Place.RUNNING
    else:
        place = Place.SCHEDULED if state == SCHEDULED and due_ms > now_ms else Place.READY
    if progress_end_ms is not None and progress_end_ms <= now_ms:
        progress = None
    return Sighting(queue, body=body, place=place, progress=progress, was_started=crashes > 0)
