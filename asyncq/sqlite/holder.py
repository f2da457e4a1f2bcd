"""The holder: asks which copies it may run, and settles."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from asyncq.clock import Clock
from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Held, Holder, Lent, Parked, Suspect, Turns, Verdict
from asyncq.sqlite.concluding import conclude
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.lending import take_back
from asyncq.sqlite.lives import Lending
from asyncq.sqlite.membership import SQLiteMembership
from asyncq.sqlite.parking import give_up_turns, take_turns
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.taking import take
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Settlement

T = TypeVar("T")

MAX_NAP: Final = 5.0
"""Seconds of one wait to be called: who frees a slot may be killed after its commit and before it rings."""


class SQLiteHolder(SQLiteMembership, Holder):
    """A member, whose lendings are the rows that bear its number.

    Args:
        database: the file.
        namespace: where it is a member.
        name: its name.
        clock: tells the time.
    """

    def __init__(self, database: SQLiteDatabase, namespace: str, name: str, *, clock: Clock) -> None:
        super().__init__(database, namespace, name, clock=clock, is_ledgers=True)
        self._takes = 0
        self._lost_takes: list[int] = []
        self._lost_turns: list[int] = []
        self._rung = asyncio.Event()

    async def take(self, copies: Sequence[Copy], *, suspects: int = 1) -> Sequence[Verdict]:
        if not copies:
            return []

        def work(transaction: Transaction, number: int) -> list[Verdict] | None:
            space, lending = transaction.space(self._namespace), Lending(self._number, number)
            return take(transaction, space, lending, copies, self._clock.now_ms(), suspects=suspects)

        return await self._lend(work, self._lost_takes)

    async def line_up(self, copies: Sequence[Copy]) -> Sequence[Held | Parked | None]:
        if not copies:
            return []

        def work(transaction: Transaction, number: int) -> list[Verdict] | None:
            space, lending = transaction.space(self._namespace), Lending(self._number, number)
            return take(transaction, space, lending, copies, self._clock.now_ms(), is_put_off=True)

        verdicts = await self._lend(work, self._lost_takes)
        return [None if isinstance(verdict, Lent | Suspect) else verdict for verdict in verdicts]  # all wait

    async def take_turns(self, limits: Mapping[str, int], count: int, *, suspects: int = 1) -> Turns:
        self._rung.clear()  # before the look, so that what comes after it is not slept through

        def work(transaction: Transaction, number: int) -> Turns | None:
            space, lending = transaction.space(self._namespace), Lending(self._number, number)
            return take_turns(transaction, space, lending, limits, count, suspects, self._clock.now_ms())

        return await self._lend(work, self._lost_turns)

    async def called(self, queues: Sequence[str], seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, MAX_NAP)):
                await self._rung.wait()
                return True
        return False

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        def work(transaction: Transaction) -> list[bool]:
            space = transaction.space(self._namespace)
            return conclude(transaction, space, self._number, settlements, self._clock.now_ms())

        return await self._database.write(work) if settlements else []

    def _hear(self, ring: Ring) -> None:
        super()._hear(ring)
        self._rung.set()

    async def _lend(self, lend: Callable[[Transaction, int], T | None], lost_by: list[int]) -> T:
        """Have something lent; what it is and does not arrive is added to what is lost."""
        self._takes += 1
        number, lost_takes, lost_turns = self._takes, list(self._lost_takes), list(self._lost_turns)

        def work(transaction: Transaction) -> T:
            now_ms = self._clock.now_ms()
            if lost_turns:
                give_up_turns(transaction, self._number, lost_turns, now_ms)
            if lost_takes or lost_turns:
                take_back(transaction, self._number, [*lost_takes, *lost_turns], now_ms)
            found = lend(transaction, number)
            if found is None:
                raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
            return found

        try:
            # After a power cut this holder is gone, and what it had been lent waits again.
            found = await self._database.write(work, is_durable=False)
        except LeaseLost:
            self._database.doorbell.disconnect(self._address)
            raise
        except BaseException:
            # It may have been done all the same: what it took is handed back by the next one, or by leaving.
            lost_by.append(number)
            raise
        del self._lost_takes[: len(lost_takes)]
        del self._lost_turns[: len(lost_turns)]
        return found
