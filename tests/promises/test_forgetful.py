"""A server that forgets everything: it is flushed, or comes back without its data."""

import asyncio

import pytest
from redis.asyncio import Redis

from asyncq import ResultMissing, Status
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.servers import RedisServer, StartRedis


@pytest.fixture(params=["flushed", "restarted"])
def how(request: pytest.FixtureRequest) -> str:
    """What happens to it."""
    return request.param


@pytest.fixture
def kind() -> str:
    """Redis alone: what forgets is a server."""
    return "redis"


@pytest.fixture
def server(own_redis: StartRedis) -> RedisServer:
    """A Redis that keeps nothing on its disk."""
    return own_redis()


async def forget(server: RedisServer, how: str) -> None:
    """Let it forget."""
    if how == "restarted":
        await asyncio.to_thread(server.restart)
        return
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()


async def test_all_is_forgotten(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer, url: str, how: str
) -> None:
    """Who waits is told that nothing is known, what ran is cancelled, and the worker runs what is published next."""
    worker = await started(asyncq, "--lease", "1", "--concurrency", "2")
    assert await (await publisher.work.kiq(0)) == 0  # from now on this process is subscribed
    running = [await publisher.cleaning.kiq(name) for name in ("a", "b")]
    await effects.wait_for("a", "b")
    waiting = [await publisher.work.kiq(1), await publisher.work.options(delay=60).kiq(2)]
    waits = [asyncio.ensure_future(handle.result()) for handle in (*running, *waiting)]
    await asyncio.sleep(0)  # they begin to wait

    await forget(server, how)

    await worker.says("lost its lease", timeout=3)
    await effects.wait_for("a-cleaned", "b-cleaned")
    assert await (await publisher.work.kiq(3)) == 6
    async with asyncio.timeout(11):  # a look every 10 s; at once where the connection has broken
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ResultMissing] * 4
    assert await waiting[0].status() is Status.UNKNOWN
    assert effects.names().count("1") == 0
    await stopped(worker)
    await assert_drained(publisher, url)


async def test_an_id_is_free_again(publisher: Publisher, server: RedisServer, how: str) -> None:
    """What was lost can be published again under its id, as new."""
    first = await publisher.work.options(id="order-1").kiq(1)
    await forget(server, how)
    second = await publisher.work.options(id="order-1").kiq(1)
    assert (first.is_new, second.is_new) == (True, True)
    assert await second.status() is Status.QUEUED
