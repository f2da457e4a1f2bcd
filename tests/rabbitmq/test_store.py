"""Workers on RabbitMQ with a store beside it: each call has one run that counts, whatever dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGKILL

import pytest
from redis.asyncio import Redis

from asyncq import Broker, Status, TaskCancelled, broker_from_url
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.servers import RedisServer
from tests.waiting import wait_until

CONSUMER_TIMEOUT = 10.0
"""Seconds: the server looks each minute by default; here it is told to do so each second."""


@pytest.fixture
def server(own_rabbitmq: StartRabbitMQ) -> RabbitMQServer:
    """A server of the test's own."""
    server = own_rabbitmq(f"consumer_timeout = {CONSUMER_TIMEOUT * 1000:.0f}")
    server.evaluate("application:set_env(rabbit, channel_tick_interval, 1000).")
    return server


@pytest.fixture
def effects(tmp_path: Path, server: RabbitMQServer, memory: RedisServer, namespace: str) -> Effects:
    """The application in its folder, and what its tasks write there."""
    return Effects(tmp_path, server.url, namespace, store=memory.url, consumer_timeout=CONSUMER_TIMEOUT)


@pytest.fixture
async def broker(server: RabbitMQServer, memory: RedisServer, namespace: str) -> AsyncIterator[Broker]:
    """The publisher's side."""
    async with broker_from_url(server.url, store=memory.url, namespace=namespace, command_timeout=20) as broker:
        yield broker


@pytest.fixture
def publisher(broker: Broker) -> Publisher:
    """The application's tasks, as a publisher knows them."""
    return Publisher(broker)


async def test_a_lost_connection(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RabbitMQServer
) -> None:
    """What runs while the connection to RabbitMQ is cut goes on, its result counts, and its copy is not run."""
    worker = await started(asyncq, "--lease", "2")
    handles = [await publisher.hold.kiq(name) for name in "abc"]
    await effects.wait_for(*"abc")
    await asyncio.to_thread(server.close_connections)
    after = await publisher.wait.kiq("after", 0)
    assert await asyncio.wait_for(after, 20) == worker.pid
    effects.let_go_on(*"abc")
    assert await asyncio.wait_for(results_of(handles), 10) == [worker.pid] * 3
    last = await publisher.wait.options(delay=3).kiq("last", 0)  # by then the copies have come again
    assert await asyncio.wait_for(last, 20) == worker.pid
    await stopped(worker)
    assert effects.count_of(*"abc") == [1, 1, 1]


async def test_a_store_that_forgets(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, memory: RedisServer
) -> None:
    """When the store loses all it has, every call runs all the same: those that wait, are delayed, and run."""
    worker = await started(asyncq, "--lease", "1", "--concurrency", "2")
    for name in "abcd":
        await publisher.hold.kiq(name)
    await publisher.hold.options(delay=2).kiq("e")
    await effects.wait_for("a", "b")
    async with Redis.from_url(memory.url) as redis:
        await redis.flushall()
    await worker.says("lost its lease")
    effects.let_go_on(*"abcde")
    await effects.wait_for(*"abcde")
    await stopped(worker)


async def test_a_task_that_takes_longer_than_the_server_lends(
    publisher: Publisher, effects: Effects, asyncq: StartProgram
) -> None:
    """A task that takes longer than `consumer_timeout` runs once; its worker's death does not lose it."""
    worker = await started(asyncq, "--lease", "2")
    long = await publisher.wait.kiq("long", 2 * CONSUMER_TIMEOUT)
    held = await publisher.hold.kiq("held")
    assert await asyncio.wait_for(long, 40) == worker.pid
    assert effects.count_of("long", "held") == [1, 1]
    assert "consumer_timeout" not in worker.output
    other = await started(asyncq, "--lease", "2")
    worker.signal(SIGKILL)
    await wait_until(lambda: effects.count_of("held") == [2], "it to run again", timeout=6)
    effects.let_go_on("held")
    assert await asyncio.wait_for(held, 10) == other.pid
    await stopped(other)


async def test_cancelling(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """Calls that wait, are delayed, or run are cancelled: none runs on, or ever."""
    delayed = await publisher.hold.options(delay=1).kiq("delayed")
    queued = await publisher.hold.kiq("queued")
    assert [await delayed.status(), await queued.status()] == [Status.SCHEDULED, Status.QUEUED]
    assert await delayed.cancel()
    assert await queued.cancel()
    worker = await started(asyncq)
    running = await publisher.cleaning.kiq("running")
    await effects.wait_for("running")
    assert await running.cancel()
    for handle in (delayed, queued, running):
        with pytest.raises(TaskCancelled):
            await handle
    await effects.wait_for("running-cleaned")
    last = await publisher.wait.options(delay=1.5).kiq("last", 0)
    assert await asyncio.wait_for(last, 10) == worker.pid
    await stopped(worker)
    assert effects.names() == ["running", "running-cleaned", "last"]


@pytest.mark.usefixtures("effects")
async def test_ids_are_given_once(publisher: Publisher, asyncq: StartProgram) -> None:
    """An id that a caller chose is taken while its call waits and while its result is kept, for every process."""
    first = await publisher.wait.options(id="order-17").kiq("a", 0)
    again = await publisher.wait.options(id="order-17").kiq("a", 0)
    assert (first.is_new, again.is_new) == (True, False)
    worker = await started(asyncq)
    assert await asyncio.wait_for(again, 10) == worker.pid
    assert not (await publisher.wait.options(id="order-17").kiq("a", 0)).is_new
    await stopped(worker)
