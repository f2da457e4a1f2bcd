"""The consumer: takes what is ready, sleeps until something is, and settles."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from asyncq.clock import Clock
from asyncq.errors import LeaseLost
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.lease import SQLiteLease
from asyncq.sqlite.leaving import dismiss
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import READY, RUNNING, SCHEDULED
from asyncq.sqlite.settling import settle, token_of
from asyncq.sqlite.sweeper import Sweeper
from asyncq.transport import Consumer, Delivery, Lease, Settlement

MAX_PROMOTED: Final = 1_000
"""Messages that become ready in one transaction."""

MAX_NAP: Final = 5.0
"""Seconds until a waiting fetch looks again unasked: a publisher may be killed after its commit and before it rings."""

_SATED_AFTER: Final = 3
"""Full fetches in a row after which a consumer wants no rings: it comes back anyway."""

_JOIN: Final = """
INSERT OR IGNORE INTO consumers(id, space, name, address, lease_ms, lease_end_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
"""
_JOIN_QUEUES: Final = "INSERT INTO members(queue, consumer) SELECT DISTINCT value, ?1 FROM json_each(?2)"
_IS_MEMBER: Final = "SELECT 1 FROM consumers WHERE id = ?1"
_SET_HUNGRY: Final = "UPDATE consumers SET is_hungry = ?2 WHERE id = ?1"

_PROMOTE: Final = f"""
UPDATE calls SET state = {READY} WHERE seq IN (
    SELECT seq FROM calls WHERE queue = ?1 AND state = {SCHEDULED} AND due_ms <= ?2 ORDER BY due_ms LIMIT ?3
)
"""
_READY: Final = f"""
SELECT seq, id, body, priority, crashes FROM calls WHERE queue = ?1 AND state = {READY}
ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, holder = ?1, fetch = ?2 WHERE seq IN (SELECT value FROM json_each(?3))
"""
_TAKE_BACK: Final = f"""
UPDATE calls SET state = {READY}, holder = NULL
WHERE state = {RUNNING} AND holder = ?1 AND fetch IN (SELECT value FROM json_each(?2))
"""
_NEXT_DUE: Final = f"SELECT min(due_ms) FROM calls WHERE queue = ?1 AND state = {SCHEDULED}"


class Catch(NamedTuple):
    """What one look at the queues brought.

    Attributes:
        deliveries: what was taken.
        due_ms: when there may be more; None: not before somebody rings.
    """

    deliveries: list[Delivery]
    due_ms: int | None = None


class SQLiteConsumer(Consumer):
    """A member, whose deliveries are the rows that bear its number.

    Args:
        database: the file.
        namespace: where it is a member.
        name: its name.
        number: its row among the consumers.
        dead_cap: dead letters that are kept of each queue.
        clock: tells the time.
    """

    def __init__(
        self, database: SQLiteDatabase, namespace: str, name: str, number: int, *, dead_cap: int, clock: Clock
    ) -> None:
        self.name = name
        self._database = database
        self._namespace = namespace
        self._number = number
        self._dead_cap = dead_cap
        self._clock = clock
        self._address = ""
        self._rung = asyncio.Event()
        self._due_ms: int | None = None
        self._fetches = 0
        self._full_fetches = 0
        self._lost_fetches: list[int] = []
        self._is_hungry = True
        self._is_interrupted = False
        self._answered_at = time.monotonic()

    @property
    def answered_at(self) -> float:
        return self._answered_at

    async def join(self, queues: Sequence[str], lease_ms: int) -> None:
        """Become a member. Raises ValueError when the name is taken."""
        self._address = self._database.doorbell.connect(self._hear)
        try:
            await self._database.write(lambda transaction: self._join(transaction, queues, lease_ms))
        except BaseException:
            self._database.doorbell.disconnect(self._address)
            raise

    async def run(self) -> None:
        await Sweeper(self._database, self._clock).run()

    async def fetch(self, limits: Mapping[str, int], count: int, *, wait: bool = True) -> Sequence[Delivery]:
        while True:
            # Before the look, so that what comes after it is not slept through.
            self._due_ms = None
            catch = await self._look(limits, count)
            if catch.due_ms is not None:
                self._expect(catch.due_ms)
            if catch.deliveries or not wait:
                return catch.deliveries
            await self._nap()
            if self._is_interrupted:
                self._is_interrupted = False
                return []

    async def interrupt(self) -> None:
        self._is_interrupted = True
        self._rung.set()

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        def work(transaction: Transaction) -> list[bool]:
            space = transaction.space(self._namespace)
            return settle(transaction, space, self._number, settlements, self._dead_cap, self._clock.now_ms())

        return await self._database.write(work) if settlements else []

    def lease(self) -> Lease:
        return SQLiteLease(self._database, self._namespace, self._number, self._clock)

    async def leave(self) -> int:
        count = await self._database.write(lambda transaction: dismiss(transaction, self._number, has_crashed=False))
        self._database.doorbell.disconnect(self._address)
        return count

    def _join(self, transaction: Transaction, queues: Sequence[str], lease_ms: int) -> None:
        space = transaction.space(self._namespace)
        end_ms = self._clock.now_ms() + lease_ms
        parameters = (self._number, space, self.name, self._address, lease_ms, end_ms)
        if transaction.change(_JOIN, parameters) == 0:
            raise ValueError(f"A consumer's name is unique for ever; {self.name!r} is a member already.")
        numbers = [transaction.queue(space, queue) for queue in queues]
        transaction.change(_JOIN_QUEUES, (self._number, as_json(numbers)))

    def _hear(self, ring: Ring) -> None:
        self._expect(ring.due_ms or 0)

    def _expect(self, due_ms: int) -> None:
        if self._due_ms is None or due_ms < self._due_ms:
            self._due_ms = due_ms
            self._rung.set()

    async def _nap(self) -> None:
        """Sleep until there should be something to fetch, or an interrupt."""
        end = time.monotonic() + MAX_NAP
        while not self._is_interrupted:
            seconds = end - time.monotonic()
            if self._due_ms is not None:
                seconds = min(seconds, (self._due_ms - self._clock.now_ms()) / 1000)
            if seconds <= 0:
                return
            self._rung.clear()
            timer = asyncio.get_running_loop().call_later(seconds, self._rung.set)
            try:
                await self._rung.wait()
            finally:
                timer.cancel()

    async def _look(self, limits: Mapping[str, int], count: int) -> Catch:
        self._fetches += 1
        fetch, lost = self._fetches, list(self._lost_fetches)
        is_sated = self._full_fetches >= _SATED_AFTER

        def work(transaction: Transaction) -> Catch:
            if lost:
                transaction.change(_TAKE_BACK, (self._number, as_json(lost)))
            catch = self._take(transaction, fetch, limits, count)
            if (is_hungry := len(catch.deliveries) < count or not is_sated) != self._is_hungry:
                transaction.change(_SET_HUNGRY, (self._number, is_hungry))
            return catch

        try:
            # After a power cut this consumer is gone, and what it had been lent is ready again.
            catch = await self._database.write(work, is_durable=False)
        except LeaseLost:
            self._database.doorbell.disconnect(self._address)
            raise
        except BaseException:
            # It may have been done all the same: what it took is handed back by the next look, or by leaving.
            self._lost_fetches.append(fetch)
            self._full_fetches = 0
            raise
        self._answered_at = time.monotonic()
        del self._lost_fetches[: len(lost)]
        is_full = len(catch.deliveries) == count
        self._is_hungry = not (is_full and is_sated)
        self._full_fetches = self._full_fetches + 1 if is_full else 0
        return catch

    def _take(self, transaction: Transaction, fetch: int, limits: Mapping[str, int], count: int) -> Catch:
        if not transaction.rows(_IS_MEMBER, (self._number,)):
            raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
        now_ms = self._clock.now_ms()
        space = transaction.space(self._namespace)
        queues = {queue: transaction.queue(space, queue) for queue, limit in limits.items() if limit > 0}
        deliveries: list[Delivery] = []
        taken: list[int] = []
        for queue, number in queues.items():
            transaction.change(_PROMOTE, (number, now_ms, MAX_PROMOTED))
            limit = min(limits[queue], count - len(deliveries))
            for seq, id, body, priority, crashes in transaction.rows(_READY, (number, limit)):
                taken.append(seq)
                deliveries.append(Delivery(id, queue, body, priority, token_of(seq, fetch), crashes))
        if taken:
            transaction.change(_LEND, (self._number, fetch, as_json(taken)))
            return Catch(deliveries)
        due_times = [transaction.rows(_NEXT_DUE, (number,))[0][0] for number in queues.values()]
        return Catch([], min((due_ms for due_ms in due_times if due_ms is not None), default=None))
