"""The ledger in one SQLite file."""

from collections.abc import Sequence
from typing import Final

from asyncq.clock import Clock, SystemClock
from asyncq.errors import PublishRefused
from asyncq.ledger import ClaimReceipt, Copy, Ledger
from asyncq.limits import LimitOffice
from asyncq.sqlite.amending import rescheduled
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.concluding import end
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.faults import StorageFull
from asyncq.sqlite.holder import SQLiteHolder
from asyncq.sqlite.keeping import make_ledgers
from asyncq.sqlite.leaving import release
from asyncq.sqlite.limits import SQLiteLimits
from asyncq.sqlite.looking import known_queues, members
from asyncq.sqlite.noting import claim, note, strike
from asyncq.sqlite.publishing import parts_of
from asyncq.sqlite.reopening import orphans, place, reopen
from asyncq.sqlite.schema import LINED, RUNNING, SCHEDULED
from asyncq.sqlite.timetable import SQLiteTimetable
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import clear, listed
from asyncq.transport import Envelope, KeyOwner, Member, Outcome, Revival, Timetable

_QUEUE: Final = """
(SELECT queues.id FROM queues JOIN spaces ON spaces.id = queues.space WHERE spaces.name = ?1 AND queues.name = ?2)
"""
_COUNT_RUNNING: Final = f"SELECT count(*) FROM calls WHERE queue = {_QUEUE} AND state = {RUNNING}"
_COUNT_SCHEDULED: Final = f"SELECT count(*) FROM calls WHERE queue = {_QUEUE} AND state = {SCHEDULED} AND due_ms > ?3"
_COUNT_PARKED: Final = f"""
SELECT count(*) FROM lines CROSS JOIN calls ON line = lines.id AND state = {LINED} WHERE lines.queue = {_QUEUE}
"""


class SQLiteLedger(Ledger):
    """Knows the calls of a transport that only moves them, in a local file which any number of processes share.

    Args:
        database: the file; give the store the same object.
        namespace: the store's; no SQLite transport's.
        clock: tells due times, leases and expiry. All processes should see the same.
    """

    def __init__(self, database: SQLiteDatabase, *, namespace: str, clock: Clock | None = None) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock or SystemClock()

    async def open(self) -> None:
        await self._database.open(self)
        try:
            await self._database.write(lambda transaction: make_ledgers(transaction, self._namespace))
        except BaseException:
            await self._database.close(self)
            raise

    async def close(self) -> None:
        await self._database.close(self)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def note(self, envelopes: Sequence[Envelope]) -> None:
        for part in parts_of(envelopes):
            await self._note(part)

    async def claim(self, envelopes: Sequence[Envelope], *, ttl_ms: int) -> Sequence[ClaimReceipt]:
        answers: list[ClaimReceipt] = []
        for part in parts_of(envelopes):
            answers += await self._claim(part, ttl_ms)
        return answers

    async def strike(self, envelopes: Sequence[Envelope]) -> None:
        await self._database.write(
            lambda transaction: strike(transaction, transaction.space(self._namespace), envelopes)
        )

    async def holder(self, name: str, queues: Sequence[str], *, lease: float) -> SQLiteHolder:
        holder = SQLiteHolder(self._database, self._namespace, name, clock=self._clock)
        await holder.join(queues, round(lease * 1000))
        return holder

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        def work(transaction: Transaction) -> bool:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            return end(transaction, space, id, queue, outcome, now_ms, even_running=even_running)

        return await self._database.write(work)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, priority: int, expires_ms: int = 0
    ) -> Copy | None:
        def work(transaction: Transaction) -> Copy | None:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            return rescheduled(transaction, space, id, queue, read, body, due_ms, priority, expires_ms, now_ms)

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
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            return sum(release(transaction, space, as_json(names), now_ms, orphaned_ms=now_ms).values())

        return await self._database.write(work)

    async def orphans(self, limit: int) -> Sequence[Copy]:
        return await self._database.read(lambda file: orphans(file, self._namespace, limit))

    async def placed(self, copies: Sequence[Copy]) -> None:
        # What is forgotten in a power cut is published once more.
        await self._database.write(
            lambda transaction: place(transaction, transaction.space(self._namespace), copies), is_durable=False
        )

    async def reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        def work(transaction: Transaction) -> list[int | None]:
            return reopen(transaction, transaction.space(self._namespace), revivals, self._clock.now_ms())

        return await self._database.write(work)

    async def running(self, queues: Sequence[str]) -> Sequence[int]:
        def work(file: Connection) -> list[int]:
            return [file.rows(_COUNT_RUNNING, (self._namespace, queue))[0][0] for queue in queues]

        return await self._database.read(work)

    async def scheduled(self, queues: Sequence[str]) -> Sequence[int]:
        def work(file: Connection) -> list[int]:
            now_ms = self._clock.now_ms()
            return [file.rows(_COUNT_SCHEDULED, (self._namespace, queue, now_ms))[0][0] for queue in queues]

        return await self._database.read(work)

    async def parked(self, queues: Sequence[str]) -> Sequence[int]:
        def work(file: Connection) -> list[int]:
            return [file.rows(_COUNT_PARKED, (self._namespace, queue))[0][0] for queue in queues]

        return await self._database.read(work)

    def limits(self) -> LimitOffice:
        return SQLiteLimits(self._database, self._namespace, self._clock)

    async def known_queues(self) -> Sequence[str]:
        return await self._database.read(lambda file: known_queues(file, self._namespace))

    def timetable(self) -> Timetable:
        return SQLiteTimetable(self._database, self._namespace, self._clock)

    async def members(self) -> Sequence[Member]:
        return await self._database.read(lambda file: members(file, self._namespace))

    async def _note(self, envelopes: Sequence[Envelope]) -> None:
        def work(transaction: Transaction) -> None:
            note(transaction, transaction.space(self._namespace), envelopes, self._clock.now_ms())

        await self._database.write(work, is_durable=False)  # what is not known is lent

    async def _claim(self, envelopes: Sequence[Envelope], ttl_ms: int) -> Sequence[ClaimReceipt]:
        def work(transaction: Transaction) -> Sequence[ClaimReceipt]:
            return claim(transaction, transaction.space(self._namespace), envelopes, ttl_ms, self._clock.now_ms())

        try:
            return await self._database.write(work)
        except StorageFull as error:
            return [PublishRefused(str(error)) for _ in envelopes]
