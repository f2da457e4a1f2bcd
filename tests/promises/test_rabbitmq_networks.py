"""The network between a worker or a publisher and RabbitMQ, or its store, is cut, while others reach both."""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from asyncq import BrokerUnavailable, broker_from_url
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_comes_back
from tests.promises.effects import Effects
from tests.promises.pair import Pair
from tests.promises.publisher import Publisher, started, stopped

CUTS: dict[str, Callable[[Proxy], None]] = {
    "refused": lambda network: (network.refuse(), network.cut())[0],
    "nothing arrives": lambda network: network.blackhole(Direction.TO_SERVER),
    "no answer arrives": lambda network: network.blackhole(Direction.TO_CLIENT),
}


class Networks(NamedTuple):
    """The ways that one process has to both servers."""

    node: Proxy
    store: Proxy

    @property
    def url(self) -> str:
        """Where RabbitMQ is to be found, which is given up after two or three seconds of silence."""
        return self.node.url("amqp", "/?heartbeat=1")

    @property
    def options(self) -> dict[str, str]:
        """Where the store is."""
        return {"store": self.store.url()}


@pytest.fixture
def kind() -> str:
    """With a store: without one the server sees a connection end, and nothing else."""
    return "rabbitmq"


@pytest.fixture
def networks(server: Pair) -> Iterator[Networks]:
    """The ways of one process."""
    with Proxy(server.node.port) as node, Proxy(server.store.port) as store:
        yield Networks(node, store)


@pytest.mark.parametrize("cut", CUTS)
async def test_one_worker_is_cut_off(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, networks: Networks, url: str, cut: str
) -> None:
    """Past its lease others run what it held; it goes on meanwhile, and when it is back its end takes no effect."""
    held = await publisher.finish.kiq("held")
    distant = effects.variant("distant", url=networks.url, **networks.options)
    worker = await started(asyncq, *distant, "--lease", "1")
    await effects.wait_for("held")
    for network in networks:
        CUTS[cut](network)
    later = [await publisher.work.kiq(number) for number in range(3)]  # they may be sent to who cannot hear
    other = await started(asyncq, "--lease", "1")
    await other.says("is dead: its lease ran out")
    effects.let_go_on("held")
    async with asyncio.timeout(15):
        assert await held == other.pid
        assert [await handle for handle in later] == [0, 2, 4]
    for network in networks:
        network.heal()
    await assert_comes_back(publisher, held, url, worker=worker, other=other)


@pytest.mark.parametrize("cut", ["refused", "no answer arrives"])
async def test_a_worker_that_reaches_its_store(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, networks: Networks, cut: str
) -> None:
    """A worker that is cut off from RabbitMQ alone lives: what it runs ends there, once, and others run the rest."""
    held = await publisher.finish.kiq("held")
    distant = effects.variant("distant", url=networks.url, **networks.options)
    worker = await started(asyncq, *distant, "--lease", "1")
    await effects.wait_for("held")
    CUTS[cut](networks.node)
    other = await started(asyncq, "--lease", "1")
    later = [await publisher.work.kiq(number) for number in range(3)]
    async with asyncio.timeout(15):
        assert [await handle for handle in later] == [0, 2, 4]
        effects.let_go_on("held")
        assert await held == worker.pid
    networks.node.heal()
    await stopped(worker, other)
    assert effects.count_of("held-ended", "0", "1", "2") == [1, 1, 1, 1]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_publisher_is_cut_off(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, networks: Networks, namespace: str, cut: str
) -> None:
    """Publishing raises within its time; the same id from elsewhere runs once, whether or not the first arrived."""
    loop = asyncio.get_running_loop()
    async with broker_from_url(networks.url, namespace=namespace, command_timeout=0.5, **networks.options) as broker:
        distant = Publisher(broker)
        await distant.work.options(id="order-0").kiq(0)
        CUTS[cut](networks.node)
        started_at = loop.time()
        with pytest.raises(BrokerUnavailable):
            await distant.work.options(id="order-1").kiq(1)
        assert loop.time() - started_at < 1.5
    again = await publisher.work.options(id="order-1").kiq(1)
    networks.node.heal()
    worker = await started(asyncq)
    assert await asyncio.wait_for(again, 10) == 2
    last = await publisher.work.options(delay=0.5).kiq(2)
    assert await asyncio.wait_for(last, 10) == 4
    await stopped(worker)
    assert effects.count_of("0", "1", "2") == [1, 1, 1]
