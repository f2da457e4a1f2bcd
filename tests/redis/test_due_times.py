"""How precisely messages become due."""

import asyncio

from tests.redis.pairs import LIMITS, finish, opened
from tests.servers import StartRedis

COUNT = 100


async def test_messages_are_fetched_when_they_are_due(own_redis: StartRedis) -> None:
    """Of messages that become due one by one, 99 of 100 are fetched within 20 ms of their time; none before."""
    server = own_redis()
    async with opened(server.url) as publisher, opened(server.url) as worker:
        consumer = await worker.consumer()
        alarm = asyncio.create_task(consumer.run())
        now_ms = publisher.transport.now_ms()
        for n in range(COUNT):
            await publisher.publish(str(now_ms + 200 + 17 * n), due_ms=now_ms + 200 + 17 * n)
        lateness: list[int] = []
        while len(lateness) < COUNT:
            deliveries = list(await consumer.fetch(LIMITS, 10))
            fetched_ms = worker.transport.now_ms()
            lateness += [fetched_ms - int(delivery.id) for delivery in deliveries]
            await finish(consumer, deliveries)
        alarm.cancel()
    assert min(lateness) >= 0
    assert sorted(lateness)[98] < 20, sorted(lateness)[-5:]
