"""Groups on RabbitMQ with a store: a worker or RabbitMQ is killed while calls go to their lanes, or wait there."""

import asyncio
from collections import Counter
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

import pytest

from asyncq import Broker, Handle, Task
from tests.cli.programs import StartProgram
from tests.promises.pair import Pair
from tests.promises.publisher import started, stopped
from tests.redis_keys import assert_no_keys_left
from tests.waiting import wait_until

STAY = tuple(f"{{{{namespace}}}}:{name}" for name in ("q:default:sequence", "q:default:wake", "queues", "ledger"))

APP = """
import asyncio
from pathlib import Path

from asyncq import broker_from_url
from asyncq.rabbitmq import loans, placing

loans.PARKED_ROUND_MS = 1_000  # what takes a minute
placing.LOOK = 1.0
broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="send", group=lambda tenant, **_: tenant)
async def send(tenant: str, number: int) -> int:
    with Path("begun").open("a") as begun:
        begun.write(f"{{tenant}}-{{number}}\\n")
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return number
"""


@pytest.fixture
def kind() -> str:
    """With a store."""
    return "rabbitmq"


@pytest.fixture
def folder(tmp_path: Path, url: str, namespace: str, options: dict[str, Any]) -> Path:
    """A folder with the application in it."""
    (tmp_path / "app.py").write_text(APP.format(url=url, namespace=namespace, options=options))
    return tmp_path


@pytest.fixture
def send(broker: Broker) -> Task[..., int]:
    """The task, as a publisher knows it."""

    @broker.task(name="send", group=lambda tenant, **_: tenant)
    async def send(tenant: str, number: int) -> int: ...

    return send


def begun_in(folder: Path) -> list[str]:
    """Return the calls that were started, in order."""
    path = folder / "begun"
    return path.read_text().split() if path.exists() else []


async def publish(broker: Broker, send: Task[..., int], large: int, small: int) -> list[Handle[int]]:
    """Publish calls of two tenants, one behind the other."""
    handles = await broker.kiq_many(send.message("large", n) for n in range(large))
    return [*handles, *await broker.kiq_many(send.message("small", n) for n in range(small))]


async def wait_in_lanes(broker: Broker, count: int) -> None:
    """Wait until so many calls, or more, stand in lanes."""

    async def are_waiting() -> bool:
        (counts,) = await broker.queue_counts()
        return (counts.waiting or 0) >= count

    await wait_until(are_waiting, f"{count} calls stand in lanes", timeout=20)


async def ends_of(handles: list[Handle[int]]) -> list[int]:
    """Return what calls return."""
    async with asyncio.timeout(60):
        return [await handle for handle in handles]


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_gone_while_calls_are_brought(
    folder: Path, broker: Broker, send: Task[..., int], asyncq: StartProgram, how: str
) -> None:
    """A worker that dies or stops while it moves calls to their lanes loses none; none but what it ran runs twice."""
    handles = await publish(broker, send, 4_000, 5)
    worker = await started(asyncq, "--lease", "1", "--concurrency", "1", "--shutdown-timeout", "0.5")
    await wait_in_lanes(broker, 500)
    if how == "killed":
        worker.signal(SIGKILL)
    else:
        await stopped(worker)
    (folder / "go").touch()
    other = await started(asyncq, "--lease", "1")
    assert await ends_of(handles) == [*range(4_000), *range(5)]
    await stopped(other)
    times = Counter(begun_in(folder))
    assert len(times) == 4_005
    assert times.total() <= 4_006


async def test_frozen_while_calls_are_brought(
    folder: Path, broker: Broker, send: Task[..., int], asyncq: StartProgram
) -> None:
    """What a worker has that is frozen while it moves calls comes to others; it wakes, and works again."""
    handles = await publish(broker, send, 4_000, 5)
    worker = await started(asyncq, "--lease", "1", "--concurrency", "1")
    await wait_in_lanes(broker, 500)
    worker.signal(SIGSTOP)
    (folder / "go").touch()
    other = await started(asyncq, "--lease", "1")
    assert await ends_of(handles) == [*range(4_000), *range(5)]
    worker.signal(SIGCONT)
    await worker.says("lost its lease")
    await stopped(other)
    assert await ends_of(await publish(broker, send, 50, 2)) == [*range(50), *range(2)]
    await stopped(worker)
    times = Counter(begun_in(folder))
    assert len(times) == 4_005
    assert times.total() <= 4_006 + 52


async def test_a_burst(folder: Path, broker: Broker, send: Task[..., int], asyncq: StartProgram) -> None:
    """A worker that ends when nothing is left has run all there was, of which most came to lanes."""
    (folder / "go").touch()
    handles = await publish(broker, send, 2_000, 5)
    worker = await asyncq("worker", "app:broker", "--burst", "--concurrency", "10")
    assert await worker.exits(timeout=60) == 0
    begun = begun_in(folder)
    assert len(begun) == len(set(begun)) == len(handles)


async def test_rabbitmq_is_killed(
    folder: Path, server: Pair, broker: Broker, send: Task[..., int], asyncq: StartProgram, namespace: str
) -> None:
    """Lanes outlast a restart of RabbitMQ: each call runs once, in turn, and nothing is left behind."""
    handles = await publish(broker, send, 300, 3)
    worker = await started(asyncq, "--lease", "2", "--concurrency", "1")
    await wait_in_lanes(broker, 302)
    await asyncio.to_thread(server.node.flush)
    await asyncio.to_thread(server.node.kill)
    await asyncio.to_thread(server.node.start)
    (folder / "go").touch()
    assert await ends_of(handles) == [*range(300), *range(3)]
    await stopped(worker)
    begun = begun_in(folder)
    assert sorted(begun) == sorted([*(f"large-{n}" for n in range(300)), *(f"small-{n}" for n in range(3))])
    assert {f"small-{n}" for n in range(3)} <= set(begun[:9])
    await broker.close()
    await assert_no_keys_left(server.store.url, namespace, allowed=STAY)
