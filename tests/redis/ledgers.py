"""Ledger and store on a server, opened together."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from asyncq.ledger import Copy, Lent
from asyncq.redis import RedisClient, RedisLedger, RedisStore
from asyncq.redis.holder import RedisHolder
from asyncq.transport import Delivery
from tests.redis.pairs import QUEUE


class LedgerPair(NamedTuple):
    """What a broker has whose messages are elsewhere."""

    client: RedisClient
    ledger: RedisLedger
    store: RedisStore

    async def holder(self, *, lease: float = 60) -> RedisHolder:
        """Join under a name that nobody has."""
        return await self.ledger.holder(f"worker-{os.urandom(4).hex()}", [QUEUE], lease=lease)


@asynccontextmanager
async def opened(url: str, namespace: str = "test", **options: Any) -> AsyncIterator[LedgerPair]:
    """Open a pair as a broker does, and close it."""
    client = RedisClient(url, **options)
    pair = LedgerPair(client, RedisLedger(client, namespace=namespace), RedisStore(client, namespace=namespace))
    try:
        await pair.store.open()
        await pair.ledger.open()
        yield pair
    finally:
        await pair.ledger.close()
        await pair.store.close()


def copies_of(*ids: str, generation: int = 0) -> list[Copy]:
    """Return copies as they are delivered."""
    return [Copy(id, QUEUE, id.encode(), 0, generation) for id in ids]


async def lend(holder: RedisHolder, copies: Sequence[Copy]) -> list[Delivery]:
    """Take copies that have to be lent, and return the deliveries that a transport makes of them."""
    deliveries: list[Delivery] = []
    for copy, verdict in zip(copies, await holder.take(copies), strict=True):
        assert isinstance(verdict, Lent), (copy.id, verdict)
        deliveries.append(Delivery(copy.id, copy.queue, copy.body, copy.priority, *verdict))
    return deliveries
