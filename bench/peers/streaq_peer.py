"""streaq: `streaq run bench.peers.streaq_peer:worker`."""

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import coredis
from streaq import Worker

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

coredis.Config.optimized = True

settings = Settings.from_environment()
worker = Worker(settings.url, concurrency=settings.concurrency, anyio_kwargs={"use_uvloop": True})
# Seconds; 0: nothing is kept.
ttl = 600 if settings.keeps_results else 0
noop = worker.task(name="noop", silent=True, ttl=ttl)(tasks.noop)
nap = worker.task(name="nap", silent=True, ttl=ttl)(tasks.nap)
echo = worker.task(name="echo", silent=True, ttl=ttl)(tasks.echo)
late = worker.task(name="late", silent=True, ttl=ttl)(tasks.late)


class StreaqPeer(Peer):
    """Batches of 100 go a little faster than batches of 1,000."""

    batch_size = 100

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        await self._stack.enter_async_context(worker)

    async def close(self) -> None:
        await self._stack.aclose()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return (noop if task == "noop" else nap).enqueue(payload)

    def enqueue_batch(self, task: Queued, payloads: Sequence[str]) -> Awaitable[object]:
        chosen = noop if task == "noop" else nap
        return worker.enqueue_many([chosen.enqueue(payload) for payload in payloads])

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return late.enqueue(due).start(schedule=datetime.fromtimestamp(due, UTC))

    async def call(self, value: int) -> object:
        task = await echo.enqueue(value)
        return (await task.result(10)).result


PEER = StreaqPeer
