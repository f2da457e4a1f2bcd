"""Limits on RabbitMQ with a store: a worker, RabbitMQ or the store is killed while calls wait in line."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from redis.asyncio import Redis

from asyncq import Broker, ConcurrencyLimit, Handle, Status, Task
from tests.cli.programs import StartProgram
from tests.promises.pair import Pair
from tests.promises.publisher import started, stopped
from tests.redis_keys import assert_no_keys_left
from tests.waiting import wait_until

STAY = tuple(
    f"{{{{namespace}}}}:{name}" for name in ("q:default:sequence", "q:default:wake", "queues", "ledger", "limits")
)

APP = """
import asyncio
from pathlib import Path

from asyncq import ConcurrencyLimit, broker_from_url
from asyncq.rabbitmq import loans, placing

loans.PARKED_ROUND_MS = 300  # what takes a minute
placing.LOOK = 1.0
broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="load", concurrency=ConcurrencyLimit(1))
async def load(number: int, seconds: float = 0) -> int:
    with Path("begun").open("a") as begun:
        begun.write(f"{{number}}\\n")
    while not seconds and not Path("go").exists():
        await asyncio.sleep(0.02)
    await asyncio.sleep(seconds)
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
def load(broker: Broker) -> Task[..., int]:
    """The task, as a publisher knows it."""

    @broker.task(name="load", concurrency=ConcurrencyLimit(1))
    async def load(number: int, seconds: float = 0) -> int: ...

    return load


def begun_in(folder: Path) -> list[int]:
    """Return the calls that were started, in order."""
    path = folder / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def wait_in_line(broker: Broker, count: int) -> None:
    """Wait until so many calls stand in line."""

    async def are_waiting() -> bool:
        (counts,) = await broker.queue_counts()
        return counts.waiting == count

    await wait_until(are_waiting, f"{count} calls stand in line", timeout=15)


async def values_of(handles: Sequence[Handle[int]]) -> list[int]:
    """Return what calls return."""
    async with asyncio.timeout(40):
        return [await handle for handle in handles]


async def test_a_parked_copy_comes_again(folder: Path, load: Task[..., int], asyncq: StartProgram) -> None:
    """Copies that come back while their call waits, while it runs, and when it has ended do not run it again."""
    worker = await started(asyncq)
    handles = [await load.kiq(number, 1) for number in range(4)]
    assert await values_of(handles) == list(range(4))
    last = await load.options(delay=1).kiq(9, 0.1)
    assert await last == 9
    await stopped(worker)
    assert begun_in(folder) == [*range(4), 9]


async def test_killed_between_parking_and_the_ladder(
    folder: Path, server: Pair, broker: Broker, load: Task[..., int], asyncq: StartProgram
) -> None:
    """A worker that dies after the store has parked calls, and before RabbitMQ has their copies, loses none of them."""
    worker = await started(asyncq, "--lease", "2")
    await asyncio.to_thread(server.store.pause)
    handles = [await load.kiq(number) for number in range(3)]  # the worker has them, and asks
    await asyncio.sleep(0.5)  # RabbitMQ's way to it, and nothing tells that they are there
    await asyncio.to_thread(server.node.pause)
    await asyncio.to_thread(server.store.resume)
    await wait_until(lambda: begun_in(folder) == [0], "the first is started")
    worker.signal(SIGKILL)
    await asyncio.to_thread(server.node.resume)
    (folder / "go").touch()
    other = await started(asyncq, "--lease", "2")
    assert await values_of(handles) == list(range(3))
    await stopped(other)
    assert Counter(begun_in(folder)) == {0: 2, 1: 1, 2: 1}


async def test_a_store_that_forgets(
    folder: Path, server: Pair, broker: Broker, load: Task[..., int], asyncq: StartProgram
) -> None:
    """When the store loses all it has, calls that stood in line run all the same, one at a time."""
    worker = await started(asyncq, "--lease", "1")
    for number in range(4):
        await load.kiq(number)
    await wait_in_line(broker, 3)
    async with Redis.from_url(server.store.url) as redis:
        await redis.flushall()
    await worker.says("lost its lease")
    (folder / "go").touch()
    await wait_until(lambda: set(begun_in(folder)) == set(range(4)), "all to run", timeout=30)
    await stopped(worker)


async def test_rabbitmq_is_killed(
    folder: Path,
    server: Pair,
    broker: Broker,
    load: Task[..., int],
    asyncq: StartProgram,
    namespace: str,
) -> None:
    """Lines outlast a restart of RabbitMQ: each call runs once, in order, and nothing is left behind."""
    worker = await started(asyncq, "--lease", "2")
    handles = [await load.kiq(number) for number in range(5)]
    await wait_in_line(broker, 4)
    await asyncio.to_thread(server.node.flush)
    await asyncio.to_thread(server.node.kill)
    await asyncio.to_thread(server.node.start)
    (folder / "go").touch()
    assert await values_of(handles) == list(range(5))
    await stopped(worker)
    assert begun_in(folder) == list(range(5))
    await broker.close()
    await assert_no_keys_left(server.store.url, namespace, allowed=STAY)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_slot_is_freed_while_there_is_no_worker(
    folder: Path, broker: Broker, load: Task[..., int], asyncq: StartProgram, *, is_killed: bool
) -> None:
    """Calls whose slot comes free when nobody works run as soon as somebody does."""
    (folder / "go").touch()
    async with broker.concurrency_limit("load", 1):
        worker = await started(asyncq, "--lease", "1")
        handles = [await load.kiq(number) for number in range(3)]
        await wait_in_line(broker, 3)
        if is_killed:
            worker.signal(SIGKILL)
        else:
            await stopped(worker)
    other = await started(asyncq, "--lease", "1")
    async with asyncio.timeout(8):
        assert await values_of(handles) == list(range(3))
    await stopped(other)
    assert begun_in(folder) == list(range(3))


async def test_the_slot_of_a_killed_worker(
    folder: Path, load: Task[..., int], broker: Broker, asyncq: StartProgram
) -> None:
    """What a killed worker ran comes again, and its slot goes to who is first in line, within its lease and 2 s."""
    worker = await started(asyncq, "--lease", "1")
    handles = [await load.kiq(number) for number in range(3)]
    await wait_in_line(broker, 2)
    other = await started(asyncq, "--lease", "1")
    worker.signal(SIGKILL)
    await wait_until(lambda: len(begun_in(folder)) == 2, "the slot is somebody's", timeout=3)
    (folder / "go").touch()
    assert await values_of(handles) == list(range(3))
    await stopped(other)
    assert Counter(begun_in(folder)) == {0: 2, 1: 1, 2: 1}


async def test_handed_back_by_who_had_it_from_its_line(
    folder: Path, broker: Broker, load: Task[..., int], asyncq: StartProgram
) -> None:
    """A call that was lent from its line, and that a worker which stops does not finish, is run by the next one."""
    worker = await started(asyncq, "--shutdown-timeout", "0.2")
    handles = [await load.kiq(0, 0.3), await load.kiq(1), await load.kiq(2)]
    await wait_until(lambda: begun_in(folder) == [0, 1], "the second is lent from its line")
    await stopped(worker)
    (folder / "go").touch()
    other = await started(asyncq)
    assert await values_of(handles) == list(range(3))
    await stopped(other)
    assert Counter(begun_in(folder)) == {0: 1, 1: 2, 2: 1}


async def test_cancelled_and_expired_in_line(
    folder: Path, broker: Broker, load: Task[..., int], asyncq: StartProgram
) -> None:
    """Calls that are cancelled, or expire, while they stand in line never run, and hold up nobody."""
    worker = await started(asyncq)
    first = await load.kiq(0)
    await wait_until(lambda: begun_in(folder) == [0], "the first is started")
    cancelled, last = await load.kiq(1), await load.kiq(2)
    expiring = await load.options(expires=0.5).kiq(3)
    await wait_in_line(broker, 3)
    assert await cancelled.cancel()
    assert (await expiring.result(timeout=5)).status is Status.EXPIRED
    (folder / "go").touch()
    assert await values_of([first, last]) == [0, 2]
    await stopped(worker)
    assert begun_in(folder) == [0, 2]
