"""The consumer: takes what is ready, sleeps until something is, and settles."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from asyncq.clock import Clock
from asyncq.errors import LeaseLost
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.lending import Catch, Wish, take, take_back
from asyncq.sqlite.membership import SQLiteMembership
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import HUNGER, HUNGER_FOR_ALL, SATED
from asyncq.sqlite.settling import settle
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Consumer, Delivery, Settlement

logger = logging.getLogger("asyncq.sqlite")

MAX_NAP: Final = 5.0
"""Seconds until a waiting fetch looks again unasked: a publisher may be killed after its commit and before it rings."""

_SATED_AFTER: Final = 3
"""Full fetches in a row after which a consumer wants no rings: it comes back anyway."""

_SET_HUNGER: Final = "UPDATE consumers SET hunger = ?2 WHERE id = ?1"


class SQLiteConsumer(SQLiteMembership, Consumer):
    """A member, whose deliveries are the rows that bear its number.

    Args:
        database: the file.
        namespace: where it is a member.
        name: its name.
        dead_cap: dead letters that are kept of each queue.
        clock: tells the time.
    """

    def __init__(self, database: SQLiteDatabase, namespace: str, name: str, *, dead_cap: int, clock: Clock) -> None:
        super().__init__(database, namespace, name, clock=clock)
        self._dead_cap = dead_cap
        self._rung = asyncio.Event()
        self._due_ms: int | None = None
        self._fetches = 0
        self._full_fetches = 0
        self._lost_fetches: list[int] = []
        self._hunger: int | None = HUNGER_FOR_ALL
        self._mends = 0
        self._is_interrupted = False
        self._answered_at = time.monotonic()

    @property
    def answered_at(self) -> float:
        return self._answered_at

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        wish = Wish({queue: limit for queue, limit in limits.items() if limit > 0}, count, suspects)
        while True:
            # Before the look, so that what comes after it is not slept through.
            self._due_ms = None
            catch = await self._look(wish)
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

    def _hear(self, ring: Ring) -> None:
        super()._hear(ring)
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
                self._database.doorbell.mend()
                return
            self._rung.clear()
            timer = asyncio.get_running_loop().call_later(seconds, self._rung.set)
            try:
                await self._rung.wait()
            finally:
                timer.cancel()

    async def _look(self, wish: Wish) -> Catch:
        self._fetches += 1
        fetch, lost = self._fetches, list(self._lost_fetches)
        is_sated = self._full_fetches >= _SATED_AFTER
        if (mends := self._database.doorbell.mends) != self._mends:
            self._mends, self._hunger = mends, None

        def hunger_after(catch: Catch) -> int:
            if is_sated and len(catch.deliveries) == wish.total:
                return SATED
            return HUNGER_FOR_ALL if wish.suspects else HUNGER

        def work(transaction: Transaction) -> Catch:
            if lost:
                take_back(transaction, self._number, lost, self._clock.now_ms())
            space = transaction.space(self._namespace)
            catch = take(transaction, space, self._number, fetch, wish, self._clock.now_ms())
            if catch is None:
                raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
            if (hunger := hunger_after(catch)) != self._hunger:
                transaction.change(_SET_HUNGER, (self._number, hunger))
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
            self._hunger = None
            raise
        self._answered_at = time.monotonic()
        del self._lost_fetches[: len(lost)]
        self._hunger = hunger_after(catch)
        self._full_fetches = self._full_fetches + 1 if len(catch.deliveries) == wish.total else 0
        return catch
