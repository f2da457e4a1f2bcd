"""Workers as processes: they stop, die, and lose their server, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGKILL

import pytest

from asyncq import Broker, broker_from_url
from tests.cli.programs import StartProgram, programs
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.waiting import wait_until

TASKS = 400

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(own_rabbitmq: StartRabbitMQ) -> RabbitMQServer:
    """A server of the test's own."""
    return own_rabbitmq()


@pytest.fixture
def effects(tmp_path: Path, server: RabbitMQServer, namespace: str) -> Effects:
    """The application in its folder, and what its tasks write there."""
    return Effects(tmp_path, server.url, namespace)


@pytest.fixture
async def asyncq(tmp_path: Path, effects: Effects) -> AsyncIterator[StartProgram]:
    """Start `asyncq ARGUMENTS...` in that folder; what still runs is killed at the end."""
    async with programs(tmp_path) as start:
        yield start


@pytest.fixture
async def broker(server: RabbitMQServer, namespace: str) -> AsyncIterator[Broker]:
    """The publisher's side."""
    async with broker_from_url(server.url, namespace=namespace, command_timeout=20) as broker:
        yield broker


@pytest.fixture
def publisher(broker: Broker) -> Publisher:
    """The application's tasks, as a publisher knows them."""
    return Publisher(broker)


async def test_what_a_killed_worker_held_runs_at_once(
    publisher: Publisher, effects: Effects, asyncq: StartProgram
) -> None:
    """The server sees the connection of a killed worker end: others have its tasks with no lease to wait for."""
    worker = await started(asyncq)
    handles = [await publisher.hold.kiq(name) for name in "abc"]
    await effects.wait_for(*"abc")
    other = await started(asyncq)
    worker.signal(SIGKILL)
    await wait_until(lambda: effects.count_of(*"abc") == [2, 2, 2], "all to run again", timeout=5)
    effects.let_go_on(*"abc")
    assert await asyncio.wait_for(asyncio.gather(*handles), 10) == [other.pid] * 3
    await stopped(other)


async def test_a_worker_that_stops_hands_back(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """What a worker does not finish in its time is run by another, as if for the first time."""
    worker = await started(asyncq, "--shutdown-timeout", "0.2")
    handle = await publisher.hold.kiq("a")
    await effects.wait_for("a")
    await stopped(worker)
    other = await started(asyncq)
    await wait_until(lambda: effects.count_of("a") == [2], "it to run again", timeout=10)
    effects.let_go_on("a")
    assert await asyncio.wait_for(handle, 10) == other.pid
    await stopped(other)


async def test_the_server_is_killed(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RabbitMQServer
) -> None:
    """The server is killed in the middle and comes back: all tasks run, and every waiter gets its result."""
    worker = await started(asyncq, "--concurrency", "20")
    async with publisher.all_told(TASKS):
        await asyncio.to_thread(server.flush)
        await effects.midway(TASKS // 8, TASKS)
        await asyncio.to_thread(server.restart)
    assert len(effects.runs()) == TASKS
    await stopped(worker)
