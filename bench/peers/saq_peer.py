"""saq: `saq bench.peers.saq_peer.settings`."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import saq
import uvloop

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

bench_settings = Settings.from_environment()
queue = saq.Queue.from_url(bench_settings.url, name="bench")
# Seconds; -1: nothing is kept.
ttl = 600 if bench_settings.keeps_results else -1


async def noop(_context: Any, *, payload: str) -> int:
    """Take saq's context off."""
    return await tasks.noop(payload)


async def nap(_context: Any, *, payload: str) -> int:
    """Take saq's context off."""
    return await tasks.nap(payload)


async def echo(_context: Any, *, value: int) -> int:
    """Take saq's context off."""
    return await tasks.echo(value)


async def late(_context: Any, *, due: float) -> int:
    """Take saq's context off."""
    return await tasks.late(due)


settings = {"queue": queue, "functions": [noop, nap, echo, late], "concurrency": bench_settings.concurrency}


class SaqPeer(Peer):
    """saq has no batch call (its `map` publishes one by one); due times are whole seconds."""

    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return queue.enqueue(task, payload=payload, ttl=ttl)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return queue.enqueue("late", due=due, scheduled=int(due), ttl=ttl)

    async def call(self, value: int) -> object:
        job = await queue.enqueue("echo", value=value, ttl=ttl)
        assert job is not None
        await job.refresh(until_complete=10)
        return job.result


PEER = SaqPeer
