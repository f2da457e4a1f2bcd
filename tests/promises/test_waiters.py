"""Many waiters in one process."""

import asyncio
import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from asyncq import Status
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.pair import Server
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import RedisServer

WAITERS = 10_000
BYTES_EACH = 10_000


async def test_ten_thousand_waiters(publisher: Publisher, asyncq: StartProgram, server: Server | None) -> None:
    """However many wait in a process, its connections stay the same, and each is told its own result."""
    async with publisher.all_told(1):
        worker = await started(asyncq)
    await stopped(worker)
    connections, memory = await connections_now(server), resident_bytes()

    handles = await publisher.publish(WAITERS)
    by_id = [publisher.work.handle(handle.id) for handle in handles[WAITERS // 2 :]]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(results_of([*handles[: WAITERS // 2], *by_id]))
        assert await by_id[-1].status() is Status.QUEUED
        assert await connections_now(server) == connections
        await started(asyncq, "--concurrency", "1000")
        async with asyncio.timeout(30):
            assert await waiting == [2 * number for number in range(WAITERS)]
    assert resident_bytes() - memory < WAITERS * BYTES_EACH


@pytest.mark.parametrize("kind", ["redis", "rabbitmq", "rabbitmq alone"])
async def test_ten_thousand_waiters_and_a_restart(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Server
) -> None:
    """Ten thousand wait while the server is killed and comes back: each is told its result within 10 s after."""
    handles = await publisher.publish(WAITERS)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(results_of(handles))
        worker = await started(asyncq, "--concurrency", "1000")
        await effects.midway(1_000, WAITERS)
        if isinstance(server, RabbitMQServer):
            await asyncio.to_thread(server.flush)
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(10):
            assert await waiting == [2 * number for number in range(WAITERS)]
    await stopped(worker)


async def connections_now(server: Server | None) -> tuple[int, int]:
    """Return how many files this process has open, sockets among them, and how many connections a Redis has."""
    files = len(os.listdir("/proc/self/fd"))
    if not isinstance(server, RedisServer):
        return files, 0
    async with Redis.from_url(server.url) as redis:
        return files, len(await redis.client_list())


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
