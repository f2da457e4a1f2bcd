"""A server that has lost the last moments: a replica has taken over, or its disk had not heard of them."""

import asyncio

import pytest
from redis.asyncio import Redis

from asyncq import ResultMissing
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.servers import RedisServer, StartRedis


@pytest.fixture
def kind() -> str:
    """Redis alone: a file has no replica."""
    return "redis"


@pytest.fixture
def server(own_redis: StartRedis) -> RedisServer:
    """A Redis that comes back as it was when it was told to save."""
    return own_redis()


async def test_the_last_moments_are_lost(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer, url: str
) -> None:
    """What ended in them runs again, what was published in them is gone and its waiter told; what runs goes on."""
    worker = await started(asyncq, "--lease", "1", "--concurrency", "2")
    ended, held = await publisher.finish.kiq("ended"), await publisher.finish.kiq("held")
    await effects.wait_for("ended", "held")
    queued = await publisher.wait.kiq("queued", 0)
    async with Redis.from_url(server.url) as redis:
        await redis.save()
    effects.let_go_on("ended")
    assert await ended == worker.pid
    assert await queued == worker.pid
    lost = await publisher.work.options(delay=60).kiq(1)
    waiting = asyncio.ensure_future(lost.result())
    await asyncio.sleep(0)  # it begins to wait

    await asyncio.to_thread(server.restart)

    async with asyncio.timeout(10):
        with pytest.raises(ResultMissing):
            await waiting
        assert [await publisher.broker.handle(handle.id) for handle in (ended, queued)] == [worker.pid] * 2
        effects.let_go_on("held")
        assert await held == worker.pid
    assert effects.count_of("ended", "queued", "held") == [2, 2, 1]
    await stopped(worker)
    await assert_drained(publisher, url)
