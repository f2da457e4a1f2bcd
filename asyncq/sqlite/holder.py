"""The holder: asks which copies it may run, and settles."""

from collections.abc import Sequence

from asyncq.clock import Clock
from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Holder, Verdict
from asyncq.sqlite.concluding import conclude
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.lending import take_back
from asyncq.sqlite.membership import SQLiteMembership
from asyncq.sqlite.taking import take
from asyncq.transport import Settlement


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

    async def take(self, copies: Sequence[Copy]) -> Sequence[Verdict]:
        if not copies:
            return []
        self._takes += 1
        number, lost = self._takes, list(self._lost_takes)

        def work(transaction: Transaction) -> list[Verdict]:
            if lost:
                take_back(transaction, self._number, lost, self._clock.now_ms())
            space = transaction.space(self._namespace)
            verdicts = take(transaction, space, self._number, number, copies, self._clock.now_ms())
            if verdicts is None:
                raise LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")
            return verdicts

        try:
            # After a power cut this holder is gone, and what it had been lent waits again.
            verdicts = await self._database.write(work, is_durable=False)
        except LeaseLost:
            self._database.doorbell.disconnect(self._address)
            raise
        except BaseException:
            # It may have been done all the same: what it took is handed back by the next take, or by leaving.
            self._lost_takes.append(number)
            raise
        del self._lost_takes[: len(lost)]
        return verdicts

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        def work(transaction: Transaction) -> list[bool]:
            space = transaction.space(self._namespace)
            return conclude(transaction, space, self._number, settlements, self._clock.now_ms())

        return await self._database.write(work) if settlements else []
