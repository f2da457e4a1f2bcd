"""The transport in one SQLite file."""

from collections.abc import Sequence
from typing import Final

from asyncq.clock import Clock, SystemClock
from asyncq.errors import PublishRefused
from asyncq.limits import LimitOffice
from asyncq.queues import Queue
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.consumer import SQLiteConsumer
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.faults import StorageFull
from asyncq.sqlite.keeping import refuse_ledgers
from asyncq.sqlite.leaving import release
from asyncq.sqlite.letters import drop, find, newest, revive
from asyncq.sqlite.limits import SQLiteLimits
from asyncq.sqlite.looking import first_in_line, known_queues, members
from asyncq.sqlite.publishing import parts_of, publish
from asyncq.sqlite.rescheduling import reschedule
from asyncq.sqlite.schema import IS_ALONE, IS_IN_LANE, IS_SUSPECT, LINED, READY, RUNNING, SCHEDULED
from asyncq.sqlite.severing import withdraw
from asyncq.sqlite.timetable import SQLiteTimetable
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import clear, listed
from asyncq.transport import (
    Capabilities,
    Counts,
    DeadLetter,
    Envelope,
    KeyOwner,
    Member,
    Outcome,
    Receipt,
    Revival,
    Revived,
    Timetable,
    Transport,
)

_QUEUE: Final = """
(SELECT queues.id FROM queues JOIN spaces ON spaces.id = queues.space WHERE spaces.name = ?1 AND queues.name = ?2)
"""
_COUNTS: Final = f"""
WITH own(queue) AS (SELECT {_QUEUE})
SELECT
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND {IS_ALONE}),
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND {IS_IN_LANE}),
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND state = {READY} AND {IS_SUSPECT}),
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND state = {SCHEDULED} AND due_ms <= ?3),
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND state = {SCHEDULED} AND due_ms > ?3),
    (SELECT count(*) FROM calls WHERE calls.queue = own.queue AND state = {RUNNING}),
    (SELECT count(*) FROM letters WHERE letters.queue = own.queue AND expires_ms > ?3),
    (SELECT count(*) FROM lines CROSS JOIN calls ON line = lines.id AND state = {LINED} WHERE lines.queue = own.queue)
FROM own
"""


class SQLiteTransport(Transport):
    """Moves messages through a local file, which any number of processes share.

    Args:
        database: the file; give the store the same object.
        namespace: what is published under another one is never seen. No ledger's.
        queues: declared queues; their `max_length` is kept to.
        dead_cap: dead letters that are kept of each queue; the oldest make room.
        clock: tells due times, leases and expiry. All processes should see the same.
    """

    capabilities = Capabilities(
        is_shared=True, spans_machines=False, has_schedules=True, has_limits=True, has_groups=True
    )

    def __init__(
        self,
        database: SQLiteDatabase,
        *,
        namespace: str,
        queues: Sequence[Queue] = (),
        dead_cap: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._max_lengths = {queue.name: queue.max_length for queue in queues if queue.max_length is not None}
        self._dead_cap = dead_cap
        self._clock = clock or SystemClock()
        self._limits = SQLiteLimits(database, namespace, self._clock)

    async def open(self) -> None:
        await self._database.open(self)
        try:
            await self._database.read(lambda file: refuse_ledgers(file, self._namespace))
        except BaseException:
            await self._database.close(self)
            raise

    async def close(self) -> None:
        await self._database.close(self)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        receipts: list[Receipt] = []
        for part in parts_of(envelopes):
            receipts += await self._publish(part)
        return receipts

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> SQLiteConsumer:
        consumer = SQLiteConsumer(self._database, self._namespace, name, dead_cap=self._dead_cap, clock=self._clock)
        await consumer.join(queues, round(lease * 1000))
        return consumer

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        def work(transaction: Transaction) -> bool:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            return withdraw(transaction, space, id, queue, outcome, now_ms, even_running=even_running)

        return await self._database.write(work)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, expires_ms: int = 0
    ) -> bool:
        def work(transaction: Transaction) -> bool:
            space = transaction.space(self._namespace)
            return reschedule(transaction, space, id, queue, read, body, due_ms, expires_ms, self._clock.now_ms())

        return await self._database.write(work)

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        now_ms = self._clock.now_ms()
        return await self._database.read(lambda file: listed(file, self._namespace, prefix, limit, now_ms))

    async def clear_unique(self, key: str) -> bool:
        def work(transaction: Transaction) -> bool:
            return clear(transaction, transaction.space(self._namespace), key, self._clock.now_ms())

        return await self._database.write(work)

    async def release(self, names: Sequence[str]) -> int:
        def work(transaction: Transaction) -> int:
            space = transaction.space(self._namespace)
            return sum(release(transaction, space, as_json(names), self._clock.now_ms()).values())

        return await self._database.write(work)

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        def work(file: Connection) -> list[Counts]:
            now_ms = self._clock.now_ms()
            found = [file.rows(_COUNTS, (self._namespace, queue, now_ms))[0] for queue in queues]
            return [
                Counts(sum(ready), later, running, dead, waiting) for *ready, later, running, dead, waiting in found
            ]

        return await self._database.read(work)

    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        def work(file: Connection) -> list[list[bytes]]:
            return [first_in_line(file, self._namespace, queue, self._clock.now_ms()) for queue in queues]

        return await self._database.read(work)

    async def known_queues(self) -> Sequence[str]:
        return await self._database.read(lambda file: known_queues(file, self._namespace))

    async def members(self) -> Sequence[Member]:
        return await self._database.read(lambda file: members(file, self._namespace))

    def limits(self) -> LimitOffice:
        return self._limits

    def timetable(self) -> Timetable:
        return SQLiteTimetable(self._database, self._namespace, self._clock, self._max_lengths)

    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        def work(file: Connection) -> list[DeadLetter]:
            return newest(file, self._namespace, queue, limit=limit, before=before, now_ms=self._clock.now_ms())

        return await self._database.read(work)

    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        return await self._database.read(lambda file: find(file, self._namespace, queue, ids, self._clock.now_ms()))

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        return await self._database.write(lambda transaction: drop(transaction, letters, self._clock.now_ms()))

    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        def work(transaction: Transaction) -> list[Revived]:
            return revive(transaction, transaction.space(self._namespace), revivals, self._clock.now_ms())

        return await self._database.write(work)

    async def _publish(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        def work(transaction: Transaction) -> list[Receipt]:
            space = transaction.space(self._namespace)
            return publish(transaction, space, envelopes, self._max_lengths, self._clock.now_ms())

        try:
            return await self._database.write(work)
        except StorageFull as error:
            return [PublishRefused(str(error)) for _ in envelopes]
