"""asyncq on Redis, SQLite or RabbitMQ: `asyncq worker bench.peers.asyncq_peer:broker`."""

import os
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

from asyncq import (
    Broker,
    ConcurrencyLimit,
    Queue,
    RabbitMQBroker,
    RateLimit,
    RedisBroker,
    SQLiteBroker,
    TaskOptions,
)
from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

settings = Settings.from_environment()
defaults = TaskOptions(store_result=settings.keeps_results)
broker: Broker
if settings.url.startswith("redis:"):
    broker = RedisBroker(settings.url, defaults=defaults)
elif settings.url.startswith("amqp:"):
    store = settings.results_url if "BENCH_ASYNCQ_STORE" in os.environ else None
    # A queue with priorities is a classic one.
    queues = [Queue("default", max_priority=1)] if "BENCH_ASYNCQ_CLASSIC" in os.environ else []
    broker = RabbitMQBroker(settings.url, defaults=defaults, store=store, queues=queues)
else:
    broker = SQLiteBroker(settings.url, defaults=defaults)
noop = broker.task(name="noop")(tasks.noop)
nap = broker.task(name="nap")(tasks.nap)
echo = broker.task(name="echo")(tasks.echo)
late = broker.task(name="late")(tasks.late)
queued = {"noop": noop, "nap": nap}
if broker.capabilities.has_limits:
    # Neither is ever reached: what is measured is what asking costs.
    queued["limited"] = broker.task(name="limited", rate_limit=RateLimit(1_000_000_000, per=60))(tasks.noop)
    queued["slotted"] = broker.task(name="slotted", concurrency=ConcurrencyLimit(1_000))(tasks.noop)


class AsyncqPeer(Peer):
    """Everything as it comes: retries, leases and the rest are on."""

    batch_size = 1000

    async def open(self) -> None:
        await broker.open()

    async def close(self) -> None:
        await broker.close()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return queued[task].kiq(payload)

    def enqueue_batch(self, task: Queued, payloads: Sequence[str]) -> Awaitable[object]:
        chosen = queued[task]
        return broker.kiq_many(chosen.message(payload) for payload in payloads)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return late.options(at=datetime.fromtimestamp(due, UTC)).kiq(due)

    async def call(self, value: int) -> object:
        return await (await echo.kiq(value))


PEER = AsyncqPeer
