"""Delayed calls on a RabbitMQ node that is killed or stopped."""

import asyncio

import pytest

from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ


@pytest.fixture(params=["rabbitmq", "rabbitmq alone"])
def kind(request: pytest.FixtureRequest) -> str:
    """RabbitMQ, with its store and without one."""
    return request.param


@pytest.fixture
def node(own_rabbitmq: StartRabbitMQ) -> RabbitMQServer:
    """A node of the test's own: with the queues of many tests it takes long to come back."""
    return own_rabbitmq()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_delays_through_a_restart(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, node: RabbitMQServer, kind: str, how: str
) -> None:
    """The node goes and comes back among 300 delayed calls: all run, and none waits behind one that is due later."""
    await publisher.wait.options(delay=3_600).kiq("never", 0)
    delays = [0.5 + number % 45 / 10 for number in range(300)]
    calls = [publisher.wait.options(delay=delay).message(f"call-{number}", 0) for number, delay in enumerate(delays)]
    handles = await publisher.broker.kiq_many(calls)
    worker = await started(asyncq, "--lease", "1")
    await effects.wait_for("call-0")
    await asyncio.to_thread(node.flush)
    await asyncio.to_thread(node.kill if how == "killed" else node.stop)
    await asyncio.to_thread(node.start)
    async with asyncio.timeout(25):
        assert await results_of(handles) == [worker.pid] * len(handles)
    await stopped(worker)
    assert set(effects.names()) == {f"call-{number}" for number in range(len(handles))}
    # A node that ends while it moves a message from one queue to the next has it in both.
    assert effects.count() == len(handles) or kind == "rabbitmq alone"
