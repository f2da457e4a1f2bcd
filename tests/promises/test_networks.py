"""The network between a worker or a publisher and Redis is cut, in either direction, while others reach it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from asyncq import BrokerUnavailable, Status, broker_from_url
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_comes_back
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started
from tests.servers import RedisServer

CUTS: dict[str, Callable[[Proxy], None]] = {
    "refused": lambda network: (network.refuse(), network.cut())[0],
    "nothing arrives": lambda network: network.blackhole(Direction.TO_SERVER),
    "no answer arrives": lambda network: network.blackhole(Direction.TO_CLIENT),
    "silence": lambda network: network.blackhole(),
}


@pytest.fixture
def kind() -> str:
    """Redis alone: SQLite has no network."""
    return "redis"


@pytest.fixture
def networks(server: RedisServer) -> Iterator[Callable[[], Proxy]]:
    """Make a network of its own to the server."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Proxy(server.port))


@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "silence"])
async def test_one_worker_is_cut_off(
    publisher: Publisher,
    effects: Effects,
    asyncq: StartProgram,
    networks: Callable[[], Proxy],
    url: str,
    cut: str,
) -> None:
    """Past its lease others run what it held; it goes on meanwhile, and when it is back its end takes no effect."""
    network = networks()
    held = await publisher.finish.kiq("held")
    worker = await started(asyncq, *effects.variant("distant", url=network.url()), "--lease", "1")
    await effects.wait_for("held")
    CUTS[cut](network)
    later = [await publisher.work.kiq(number) for number in range(3)]  # one may be sent to who cannot hear
    other = await started(asyncq, "--lease", "1")
    await other.says("is dead: its lease ran out")
    assert worker.pid in effects.runs_of("held")
    effects.let_go_on("held")
    async with asyncio.timeout(10):
        assert await held == other.pid
        assert [await handle for handle in later] == [0, 2, 4]
    network.heal()
    await assert_comes_back(publisher, held, url, worker=worker, other=other)


@pytest.mark.parametrize("cut", CUTS)
async def test_a_publisher_is_cut_off(
    publisher: Publisher, networks: Callable[[], Proxy], namespace: str, cut: str
) -> None:
    """Publishing raises within its time; the same id again is published once, whether or not the first arrived."""
    network = networks()
    loop = asyncio.get_running_loop()
    async with broker_from_url(network.url(), namespace=namespace, command_timeout=0.5) as broker:
        distant = Publisher(broker)
        await distant.work.options(id="order-0").kiq(0)
        CUTS[cut](network)
        started_at = loop.time()
        with pytest.raises(BrokerUnavailable):
            await distant.work.options(id="order-1").kiq(1)
        assert loop.time() - started_at < 1.5
        has_arrived = await publisher.work.handle("order-1").status() is Status.QUEUED
        assert has_arrived == (cut == "no answer arrives")
        network.heal()
        again = await distant.work.options(id="order-1").kiq(1)
        assert again.is_new is not has_arrived
        [counts] = await (await broker.open()).transport.counts(["default"])
        assert counts.ready == 2
