"""The membership: what a consumer of a transport and a holder of a ledger have in common."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from asyncq.clock import Clock
from asyncq.errors import BrokerUnavailable
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.lease import SQLiteLease
from asyncq.sqlite.leaving import dismiss
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import FOR_TURNS, HUNGER_FOR_ALL
from asyncq.sqlite.settling import absolve
from asyncq.sqlite.severing import forget_severed, severed_from
from asyncq.sqlite.sweeper import Sweeper
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Departure, Lease

logger = logging.getLogger("asyncq.sqlite")

_JOIN: Final = """
INSERT OR IGNORE INTO consumers(id, space, name, address, lease_ms, lease_end_ms, hunger)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
"""
_JOIN_QUEUES: Final = "INSERT INTO members(queue, consumer) SELECT DISTINCT value, ?1 FROM json_each(?2)"


class SQLiteMembership:
    """A member, whose deliveries are the rows that bear its number.

    Args:
        database: the file.
        namespace: where it is a member.
        name: its name.
        clock: tells the time.
        is_ledgers: it is lent what it asks for, so that nobody need ring it for more, but for the lines of limits.
    """

    def __init__(
        self, database: SQLiteDatabase, namespace: str, name: str, *, clock: Clock, is_ledgers: bool = False
    ) -> None:
        self.name = name
        self._database = database
        self._namespace = namespace
        self._number = secrets.randbits(62)
        self._clock = clock
        self._is_ledgers = is_ledgers
        self._address = ""
        self._may_be_severed = asyncio.Event()

    async def join(self, queues: Sequence[str], lease_ms: int) -> None:
        """Become a member. Raises ValueError when the name is taken."""
        self._address = self._database.doorbell.connect(self._hear)
        try:
            await self._database.write(lambda transaction: self._join(transaction, queues, lease_ms))
        except BaseException:
            self._database.doorbell.disconnect(self._address)
            raise

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Tell what is severed, and sweep the file, until cancelled."""
        async with asyncio.TaskGroup() as doers:
            doers.create_task(Sweeper(self._database, self._clock).run())
            while True:
                await self._may_be_severed.wait()
                self._may_be_severed.clear()
                try:
                    await self._tell_severed(severed)
                except BrokerUnavailable as error:  # the next renewal of the lease says it again
                    logger.debug("Could not look for what was severed: %s", error)

    async def absolve(self) -> None:
        """Take back the crashes that were counted in its name."""
        await self._database.write(lambda transaction: absolve(transaction, self._number))

    def lease(self) -> Lease:
        """Return its lease."""
        loop = asyncio.get_running_loop()

        def alert() -> None:
            with suppress(RuntimeError):  # the loop was closed without a goodbye
                loop.call_soon_threadsafe(self._may_be_severed.set)

        return SQLiteLease(
            self._database, self._namespace, self._number, self._clock, alert, is_ledgers=self._is_ledgers
        )

    async def leave(self) -> int:
        """End it; return how much it held."""
        count = await self._database.write(
            lambda transaction: dismiss(transaction, self._number, self._clock.now_ms(), how=Departure.LEFT)
        )
        self._database.doorbell.disconnect(self._address)
        return count

    def _hear(self, ring: Ring) -> None:
        if ring.due_ms is None:
            self._may_be_severed.set()

    def _join(self, transaction: Transaction, queues: Sequence[str], lease_ms: int) -> None:
        space = transaction.space(self._namespace)
        end_ms = self._clock.now_ms() + lease_ms
        hunger = FOR_TURNS if self._is_ledgers else HUNGER_FOR_ALL
        parameters = (self._number, space, self.name, self._address, lease_ms, end_ms, hunger)
        if transaction.change(_JOIN, parameters) == 0:
            raise ValueError(f"A consumer's name is unique for ever; {self.name!r} is a member already.")
        numbers = [transaction.queue(space, queue) for queue in queues]
        transaction.change(_JOIN_QUEUES, (self._number, as_json(numbers)))

    async def _tell_severed(self, severed: Callable[[Sequence[str]], None]) -> None:
        found = await self._database.read(lambda file: severed_from(file, self._number))
        if not found:
            return
        severed(found)
        # Only now: who could not be told has to be told again.
        await self._database.write(
            lambda transaction: forget_severed(transaction, self._number, found), is_durable=False
        )
