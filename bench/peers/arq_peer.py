"""arq: `arq bench.peers.arq_peer.WorkerSettings --custom-log-dict bench.peers.arq_peer.LOGGING`."""

import asyncio
import os
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import uvloop
from arq import create_pool, func
from arq.connections import ArqRedis, RedisSettings

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"}}
# Seconds between two looks into the queue, and between two looks for a result.
POLL_DELAY = float(os.environ.get("BENCH_ARQ_POLL_DELAY", "0.5"))

settings = Settings.from_environment()


async def noop(_context: Any, payload: str) -> int:
    """Take arq's context off."""
    return await tasks.noop(payload)


async def nap(_context: Any, payload: str) -> int:
    """Take arq's context off."""
    return await tasks.nap(payload)


async def echo(_context: Any, value: int) -> int:
    """Take arq's context off."""
    return await tasks.echo(value)


async def late(_context: Any, due: float) -> int:
    """Take arq's context off."""
    return await tasks.late(due)


class WorkerSettings:
    """What arq's command line reads."""

    functions = (func(noop), func(nap), func(echo), func(late))
    redis_settings = RedisSettings.from_dsn(settings.url)
    max_jobs = settings.concurrency
    poll_delay = POLL_DELAY
    keep_result = 600 if settings.keeps_results else 0


class ArqPeer(Peer):
    """arq has no batch call."""

    _pool: ArqRedis

    async def open(self) -> None:
        self._pool = await create_pool(WorkerSettings.redis_settings)

    async def close(self) -> None:
        await self._pool.aclose()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return self._pool.enqueue_job(task, payload)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return self._pool.enqueue_job("late", due, _defer_until=datetime.fromtimestamp(due, UTC))

    async def call(self, value: int) -> object:
        job = await self._pool.enqueue_job("echo", value)
        assert job is not None
        return await job.result(timeout=10, poll_delay=POLL_DELAY)


PEER = ArqPeer
