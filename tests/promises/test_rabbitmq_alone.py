"""RabbitMQ without a store: what is run again, and what is not."""

import asyncio
from signal import SIGCONT, SIGKILL

import pytest

from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.freezing import freeze
from tests.promises.outages import messages_in
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq_servers import RabbitMQServer
from tests.waiting import wait_until

CONSUMER_TIMEOUT_MS = 2_000


@pytest.fixture
def kind() -> str:
    """No store."""
    return "rabbitmq alone"


@pytest.fixture
def url(node: RabbitMQServer) -> str:
    """With a heartbeat each second: who is silent for two or three is cut off."""
    return f"{node.url}?heartbeat=1"


async def test_a_killed_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """The server sees the connection of a killed worker end: others have its tasks with no lease to wait for."""
    worker = await started(asyncq)
    handles = [await publisher.hold.kiq(name) for name in "abc"]
    await effects.wait_for(*"abc")
    other = await started(asyncq)
    worker.signal(SIGKILL)
    await wait_until(lambda: effects.count_of(*"abc") == [2, 2, 2], "all to run again", timeout=5)
    effects.let_go_on(*"abc")
    for handle in handles:
        result = await handle.result(timeout=10)
        assert (result.value, result.attempts) == (other.pid, 1)
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


async def test_lost_connections(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, node: RabbitMQServer
) -> None:
    """A worker that has lost its connection four times runs nothing twice, and nothing of it counts as a crash."""
    worker = await started(asyncq, "--concurrency", "4")
    handles = [await publisher.finish.kiq(name) for name in "abc"]
    await effects.wait_for(*"abc")
    for number in range(4):
        await asyncio.to_thread(node.close_connections)
        assert await (await publisher.wait.kiq(f"after-{number}", 0)).result(timeout=10)
    effects.let_go_on(*"abc")
    assert await results_of(handles) == [worker.pid] * 3

    async def is_empty() -> bool:
        return await messages_in(node, publisher.broker.namespace) == 0

    await wait_until(is_empty, "nothing is left")
    await stopped(worker)
    assert effects.count_of("a-ended", "b-ended", "c-ended") == [1, 1, 1]
    assert "Poison" not in worker.output


async def test_a_blocked_loop(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A loop that is blocked past its heartbeats loses its connection: what ran goes on, and alone it runs once."""
    worker = await started(asyncq, "--concurrency", "2")
    beside, blocking = await publisher.hold.kiq("beside"), await publisher.block.kiq("block", "sleep", 5)
    await effects.wait_for("beside", "block")
    await worker.says("Connecting again", timeout=20)
    effects.let_go_on("beside")
    async with asyncio.timeout(10):
        assert await results_of([beside, blocking, await publisher.wait.kiq("after", 0)]) == [worker.pid] * 3
    await stopped(worker)
    assert effects.count_of("beside", "block") == [1, 1]


async def test_a_frozen_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """What a frozen worker held runs elsewhere; when it wakes its runs go on, and who waits has heard of one end."""
    frozen = await started(asyncq)
    handle = await publisher.finish.kiq("a")
    await effects.wait_for("a")
    await freeze(frozen, url)
    other = await started(asyncq)
    await wait_until(lambda: effects.count_of("a") == [2], "it to run elsewhere", timeout=10)
    effects.let_go_on("a")
    assert await asyncio.wait_for(handle, 10) == other.pid
    frozen.signal(SIGCONT)
    await wait_until(lambda: effects.count_of("a-ended") == [2], "both runs end")
    assert await (await publisher.wait.kiq("b", 0)).result(timeout=10)
    assert await handle == other.pid
    await stopped(frozen, other)


async def test_a_task_that_takes_longer_than_the_server_lends(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, node: RabbitMQServer
) -> None:
    """Past `consumer_timeout` the server takes a task from its worker, which says so; another worker runs it again."""
    node.set_consumer_timeout(CONSUMER_TIMEOUT_MS)
    try:
        worker = await started(asyncq, "--concurrency", "1")
        handle = await publisher.hold.kiq("long")
        await effects.wait_for("long")
        other = await started(asyncq, "--concurrency", "1")
        await worker.says("consumer_timeout", timeout=10)
        await wait_until(lambda: effects.runs_of("long") == [worker.pid, other.pid], "it runs elsewhere")
        effects.let_go_on("long")
        assert await asyncio.wait_for(handle, 10) in (worker.pid, other.pid)
        await stopped(worker, other)
    finally:
        node.set_consumer_timeout(1_800_000)
