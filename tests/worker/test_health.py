"""Whether a worker works, as it knows itself."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asyncq import Broker, MemoryBroker, Worker, broker_from_url
from tests.servers import StartRedis
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_before_and_after(broker: Broker) -> None:
    """A worker is healthy while it runs, and neither before nor after."""
    async with working(broker) as worker:
        await wait_until(worker.is_healthy, "the worker fetches")
    assert not worker.is_healthy()
    assert not Worker(broker).is_healthy()


async def test_a_full_worker_is_healthy(broker: Broker) -> None:
    """A worker whose slots are all taken fetches nothing for as long as that takes, and is healthy."""
    started, goes_on = asyncio.Event(), asyncio.Event()

    @broker.task
    async def fill() -> None:
        started.set()
        await goes_on.wait()

    async with working(broker, concurrency=1) as worker:
        await fill.kiq()
        await started.wait()
        await wait_until(lambda: worker.is_healthy(within=0), "the worker knows that it is full")
        goes_on.set()


async def test_a_server_that_does_not_answer(own_redis: StartRedis, namespace: str) -> None:
    """When the server has hung for so long, the worker is not healthy; when it gives work again, it is."""
    server = own_redis()
    async with broker_from_url(server.url, namespace=namespace) as broker:

        @broker.task
        async def nothing() -> None: ...

        async with working(broker, lease=60) as worker:
            await (await nothing.kiq())
            assert worker.is_healthy(within=0.5)
            server.pause()
            await wait_until(lambda: not worker.is_healthy(within=0.5), "the worker is not healthy any more")
            server.resume()
            await (await nothing.kiq())
            assert worker.is_healthy(within=0.5)


async def test_dead_letters_are_counted_in_the_log(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that ends says how many calls it has sent to the dead letters; with none it says nothing."""

    @broker.task(retry=None)
    async def fail() -> None:
        raise ValueError("no")

    async with working(broker, burst=True):
        pass
    assert "Dead letters" not in caplog.text
    await broker.kiq_many(fail.message() for _ in range(3))
    async with working(broker, burst=True):
        pass
    assert "Dead letters of this worker: 3. `asyncq dead list` shows them." in caplog.text
