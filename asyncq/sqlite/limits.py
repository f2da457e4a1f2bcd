"""The office of limits in one SQLite file."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from asyncq.clock import Clock
from asyncq.limits import Asked, Kind, LimitId, LimitOffice, LimitState, Numbers
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.freeing import wake, wake_limit
from asyncq.sqlite.limiter import Limiter, Need, need_of
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.slots import give_back, is_held, renew
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waiters import is_first, stop_waiting
from asyncq.store import Address

_DECLARE: Final = """
INSERT INTO limits(space, limit_id, declared) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET declared = excluded.declared
WHERE declared IS NOT excluded.declared AND (?4 OR declared IS NULL)
"""
_CHANGE: Final = """
INSERT INTO limits(space, limit_id, changed) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET changed = excluded.changed WHERE changed IS NOT excluded.changed
"""
_FORGET: Final = "DELETE FROM limits WHERE space = ?1 AND limit_id = ?2 AND declared IS NULL AND changed IS NULL"
_PAUSE: Final = """
INSERT INTO pauses(space, paused, until_ms) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)
"""
_END_PAUSE: Final = "DELETE FROM pauses WHERE space = ?1 AND paused = ?2"
_STATES: Final = """
SELECT limit_id, declared, changed, until_ms FROM limits
LEFT JOIN pauses ON pauses.space = limits.space AND paused = limit_id AND until_ms > ?2
WHERE limits.space = (SELECT id FROM spaces WHERE name = ?1) ORDER BY limit_id
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Numbers).decode


class SQLiteLimits(LimitOffice):
    """Limits of one namespace.

    Args:
        database: the file.
        namespace: whose limits.
        clock: tells the time.
    """

    def __init__(self, database: SQLiteDatabase, namespace: str, clock: Clock) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock
        self._calls: dict[str, tuple[Address, asyncio.Event]] = {}

    async def declare(self, numbers: Mapping[LimitId, Numbers], *, is_consumer: bool = True) -> None:
        def work(transaction: Transaction) -> None:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            for id, each in numbers.items():
                if transaction.change(_DECLARE, (space, id.text, _encode(each).decode(), int(is_consumer))):
                    wake_limit(transaction, space, id.text, now_ms)

        await self._database.write(work)

    async def change(self, id: LimitId, numbers: Numbers | None) -> None:
        def work(transaction: Transaction) -> None:
            space = transaction.space(self._namespace)
            packed = None if numbers is None else _encode(numbers).decode()
            if transaction.change(_CHANGE, (space, id.text, packed)):
                wake_limit(transaction, space, id.text, self._clock.now_ms())
            transaction.change(_FORGET, (space, id.text))

        await self._database.write(work)

    async def pause(self, id: LimitId, key: str | None, ms: int) -> None:
        def work(transaction: Transaction) -> None:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            paused = id.text if key is None else f"{id.text} {key}"
            if ms:
                transaction.change(_PAUSE, (space, paused, now_ms + ms))
            elif transaction.change(_END_PAUSE, (space, paused)):
                wake_limit(transaction, space, id.text, now_ms)

        await self._database.write(work)

    async def states(self) -> Sequence[LimitState]:
        def work(file: Connection) -> list[LimitState]:
            return [
                LimitState(_id_in(text), declared and _decode(declared), changed and _decode(changed), until_ms or 0)
                for text, declared, changed, until_ms in file.rows(_STATES, (self._namespace, self._clock.now_ms()))
            ]

        return await self._database.read(work)

    async def ask(self, id: LimitId, key: str, weight: int, waiter: str, lease_ms: int) -> Asked:
        need = need_of(id.kind, id.name, key, 0 if id.kind is Kind.SLOTS else weight)
        address = self._listen(waiter)
        # After a power cut whoever has asked is gone, as it is after a fetch.
        asked = await self._database.write(
            lambda transaction: self._ask(transaction, need, waiter, address, lease_ms), is_durable=False
        )
        if asked.is_granted:
            self._hang_up(waiter)
        return asked

    async def called(self, waiter: str, seconds: float) -> None:
        found = self._calls.get(waiter)
        if found is None:
            return
        _, call = found
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await call.wait()
        call.clear()

    async def renew(self, id: LimitId, key: str, waiter: str, lease_ms: int) -> bool:
        def work(transaction: Transaction) -> bool:
            space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
            return renew(transaction, space, f"{id.text} {key}", waiter, now_ms + lease_ms, now_ms)

        return await self._database.write(work, is_durable=False)

    async def leave(self, id: LimitId, key: str, waiter: str) -> bool:
        def work(transaction: Transaction) -> bool:
            space, now_ms, limit_key = transaction.space(self._namespace), self._clock.now_ms(), f"{id.text} {key}"
            was_there = stop_waiting(transaction, space, limit_key, waiter)
            if not give_back(transaction, space, limit_key, waiter, now_ms):
                return was_there
            wake(transaction, space, limit_key, now_ms)
            return True

        self._hang_up(waiter)
        return await self._database.write(work, is_durable=False)

    def _ask(self, transaction: Transaction, need: Need, waiter: str, address: Address, lease_ms: int) -> Asked:
        space, now_ms = transaction.space(self._namespace), self._clock.now_ms()
        limit_key, until_ms = need.limit_key, now_ms + lease_ms
        if not need.weight and is_held(transaction, space, limit_key, waiter, now_ms):
            return Asked(True, 0)  # the reply was lost
        if not is_first(transaction, space, limit_key, waiter, address, until_ms, now_ms):
            return Asked(False, lease_ms // 3)
        limiter = Limiter(transaction, space, now_ms)
        due_ms = limiter.due_ms(need)
        if due_ms > now_ms:
            return Asked(False, min(due_ms - now_ms, lease_ms // 3))
        limiter.take(need, waiter, until_ms)
        limiter.write()
        stop_waiting(transaction, space, limit_key, waiter)
        return Asked(True, 0)

    def _listen(self, waiter: str) -> Address:
        """Have an address at which somebody who waits is called."""
        if waiter not in self._calls:
            call = asyncio.Event()

            def hear(ring: Ring) -> None:
                call.set()

            self._calls[waiter] = self._database.doorbell.connect(hear), call
        return self._calls[waiter][0]

    def _hang_up(self, waiter: str) -> None:
        if (found := self._calls.pop(waiter, None)) is not None:
            self._database.doorbell.disconnect(found[0])


def _id_in(text: str) -> LimitId:
    kind, name = text.split(" ", 1)
    return LimitId(Kind(kind), name)
