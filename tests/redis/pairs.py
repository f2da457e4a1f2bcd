"""Transport and store on a server, opened together."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import Redis

from asyncq.redis import RedisClient, RedisStore, RedisTransport
from asyncq.redis.consumer import RedisConsumer
from asyncq.redis.holder import RedisHolder
from asyncq.transport import Delivery, Done, Envelope, Outcome

QUEUE = "mail"
LIMITS = {QUEUE: 1_000}
MINUTE_MS = 60_000
RECORD = b'{"status":"succeeded"}'
KEPT = Outcome(RECORD, MINUTE_MS)


class Pair(NamedTuple):
    """What a broker has."""

    client: RedisClient
    transport: RedisTransport
    store: RedisStore

    async def publish(self, *ids: str, due_ms: int = 0) -> None:
        """Publish messages that have to be accepted."""
        receipts = await self.transport.publish([Envelope(id, QUEUE, id.encode(), due_ms=due_ms) for id in ids])
        assert list(receipts) == [None] * len(ids)

    async def consumer(self, *, lease: float = 60) -> RedisConsumer:
        """Join under a name that nobody has."""
        return await self.transport.consumer(f"worker-{os.urandom(4).hex()}", [QUEUE], lease=lease)


async def finish(consumer: RedisConsumer | RedisHolder, deliveries: Sequence[Delivery]) -> None:
    """End deliveries that have to be the consumer's."""
    assert all(await consumer.settle([Done(delivery, KEPT) for delivery in deliveries]))


@asynccontextmanager
async def kept_up(
    consumer: RedisConsumer | RedisHolder, severed: Callable[[Sequence[str]], None] = lambda _: None
) -> AsyncIterator[None]:
    """Keep a consumer up as a worker does, and end that."""
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(consumer.run(severed))
        try:
            yield
        finally:
            upkeep.cancel()


@asynccontextmanager
async def opened(url: str, namespace: str = "test", **options: Any) -> AsyncIterator[Pair]:
    """Open a pair as a broker does, and close it."""
    client = RedisClient(url, **options)
    pair = Pair(client, RedisTransport(client, namespace=namespace), RedisStore(client, namespace=namespace))
    try:
        await pair.store.open()
        await pair.transport.open()
        yield pair
    finally:
        await pair.transport.close()
        await pair.store.close()


async def commands_of(redis: Redis) -> int:
    """Return how many commands the server has run, those of scripts and this one included."""
    return (await redis.info("stats"))["total_commands_processed"]
