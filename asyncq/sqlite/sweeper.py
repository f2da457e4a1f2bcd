"""The sweeper: removes what is over from the file, in one process at a time and in small steps."""

import asyncio
import logging
from typing import Final

from asyncq.clock import Clock
from asyncq.errors import BrokerUnavailable
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import ENDED
from asyncq.sqlite.transaction import Transaction

logger = logging.getLogger("asyncq.sqlite")

EVERY: Final = 30.0
"""Seconds between two sweeps of the file, whichever process does them."""

STEP: Final = 500
"""Rows removed in one transaction."""

_CLAIM: Final = """
INSERT INTO duties(name, next_ms) VALUES ('sweep', ?2)
ON CONFLICT(name) DO UPDATE SET next_ms = excluded.next_ms WHERE next_ms <= ?1
"""
_RESULTS: Final = f"""
DELETE FROM calls WHERE seq IN (
    SELECT seq FROM calls WHERE state = {ENDED} AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2
)
"""
_LETTERS: Final = """
DELETE FROM letters WHERE seq IN (SELECT seq FROM letters WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)
"""
_TOMBSTONES: Final = """
DELETE FROM tombstones WHERE (space, id) IN (
    SELECT space, id FROM tombstones WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2
)
"""
_UNIQUES: Final = """
DELETE FROM uniques WHERE (space, key) IN (
    SELECT space, key FROM uniques WHERE ends_ms <> 0 AND ends_ms <= ?1 ORDER BY ends_ms LIMIT ?2
)
"""
_GRANTS: Final = """
DELETE FROM grants WHERE (space, limit_key, at_ms) IN (
    SELECT space, limit_key, at_ms FROM grants WHERE ends_ms <= ?1 ORDER BY ends_ms LIMIT ?2
)
"""
_HOLDS: Final = """
DELETE FROM holds WHERE (space, limit_key, holder) IN (
    SELECT space, limit_key, holder FROM holds WHERE until_ms <= ?1 ORDER BY until_ms LIMIT ?2
)
"""
_WAITERS: Final = "DELETE FROM waiters WHERE until_ms <= ?1"
_PAUSES: Final = "DELETE FROM pauses WHERE until_ms <= ?1"
_CLAIMS: Final = "DELETE FROM claims WHERE expires_ms <= ?1"
_WATCHERS: Final = "DELETE FROM watchers WHERE expires_ms <= ?1"
_LISTENERS: Final = "SELECT address FROM listeners UNION ALL SELECT address FROM schedulers"

_IN_STEPS: Final = (_RESULTS, _LETTERS, _TOMBSTONES, _UNIQUES, _GRANTS, _HOLDS)


class Sweeper:
    """Sweeps the whole file, all namespaces of it, when it is its turn."""

    def __init__(self, database: SQLiteDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sweep()
            except BrokerUnavailable as error:
                logger.debug("Sweeping was put off: %s", error)

    async def sweep(self) -> None:
        """Remove what is over, if nobody else has done so in the meantime."""
        if not await self._database.write(self._claim, is_durable=False):
            return
        removed = STEP
        while removed == STEP:
            removed = await self._database.write(self._step, is_durable=False)
        await self._database.write(self._finish, is_durable=False)

    def _claim(self, transaction: Transaction) -> bool:
        now_ms = self._clock.now_ms()
        return transaction.change(_CLAIM, (now_ms, now_ms + round(EVERY * 900))) == 1

    def _step(self, transaction: Transaction) -> int:
        parameters = (self._clock.now_ms(), STEP)
        return max(transaction.change(sql, parameters) for sql in _IN_STEPS)

    def _finish(self, transaction: Transaction) -> None:
        for sql in (_WATCHERS, _CLAIMS, _WAITERS, _PAUSES):
            transaction.change(sql, (self._clock.now_ms(),))
        for (address,) in transaction.rows(_LISTENERS):
            # Nobody is on line 0. The ring finds out whose process is gone.
            transaction.ring(f"{address.rpartition(':')[0]}:0", Ring(0))
