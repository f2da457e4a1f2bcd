"""What a worker does with the runs of calls that were cancelled, whenever it hears of it."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from asyncq import Broker, MemoryBroker, Status, broker_from_url
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_an_order_that_arrives_with_its_delivery(redis_url: str, namespace: str) -> None:
    """A call whose fetch and whose cancelling a busy loop hears of in one turn leaves its slot to the next."""

    def call_and_cancel() -> None:
        async def main() -> None:
            async with broker_from_url(redis_url, namespace=namespace) as elsewhere:
                handle = await elsewhere.task(name="work")(work.function).kiq()

                async def runs() -> bool:
                    return await handle.status() is Status.RUNNING

                await wait_until(runs, "the worker has fetched it")
                assert await handle.cancel()

        asyncio.run(main())

    async with broker_from_url(redis_url, namespace=namespace) as broker, Redis.from_url(redis_url) as redis:

        @broker.task(name="work")
        async def work() -> int:
            return 1

        async def is_waiting() -> bool:
            return any(client["cmd"] == "blpop" for client in await redis.client_list())

        async with working(broker, concurrency=1), asyncio.timeout(10):
            await wait_until(is_waiting, "the worker waits for a message")
            elsewhere = threading.Thread(target=call_and_cancel)
            elsewhere.start()
            elsewhere.join()  # the loop is blocked meanwhile
            assert await (await work.kiq()) == 1


async def test_a_call_that_was_published_anew(broker: Broker) -> None:
    """Cancelled and published again under its id, in one worker: the old run is stopped and the new one is not."""
    started: list[asyncio.Event] = []
    stopped: list[int] = []

    @broker.task(store_result=False)
    async def work() -> None:
        number = len(started)
        started.append(asyncio.Event())
        started[-1].set()
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            stopped.append(number)
            raise
        ended.set()

    may_end, ended = asyncio.Event(), asyncio.Event()
    async with working(broker), asyncio.timeout(5):
        handle = await work.options(id="one").kiq()
        await wait_until(lambda: len(started) == 1, "it runs")
        assert await handle.cancel()
        assert (await work.options(id="one").kiq()).is_new
        await wait_until(lambda: len(started) == 2, "it runs again")
        await wait_until(lambda: stopped == [0], "the old run is stopped")
        may_end.set()
        await ended.wait()
    assert (stopped, len(started)) == ([0], 2)


async def test_a_time_limit_of_the_task_own(broker: Broker) -> None:
    """A run that is cancelled while its own time limit cleans up is cancelled all the same."""
    cleaning, stopped = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> None:
        try:
            async with asyncio.timeout(0):
                try:
                    await asyncio.Event().wait()
                finally:
                    cleaning.set()
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with working(broker), asyncio.timeout(5):
        handle = await work.kiq()
        await cleaning.wait()
        assert await handle.cancel()
        await stopped.wait()
