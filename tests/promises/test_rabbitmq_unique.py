"""Unique calls on RabbitMQ with a store: a publisher, RabbitMQ or the store is killed in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker, BrokerUnavailable, RedisBroker, Task, Unique
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.pair import Pair
from tests.promises.publisher import Publisher, go, publishing, started, stopped
from tests.waiting import wait_until

APP = """
import asyncio
import sys
from pathlib import Path

from asyncq import Unique, broker_from_url
from asyncq.rabbitmq import issuing, placing

issuing.CLAIM_MS, issuing.CLAIM_STEPS = 3_000, 0  # what takes two minutes
placing.LOOK = 1.0
broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="index", unique=Unique(by=("document",), until="started", on_duplicate="debounce"))
async def index(document: int, version: int) -> int:
    with Path("runs").open("a") as runs:
        runs.write(f"{{version}}\\n")
    return version


async def publish(version: int) -> None:
    async with broker:
        print("Open.", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await index.options(delay=0.1).kiq(7, version)


if __name__ == "__main__":
    asyncio.run(publish(int(sys.argv[1])))
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
def index(broker: Broker) -> Task[[int, int], int]:
    """The task, as a publisher knows it."""

    @broker.task(name="index", unique=Unique(by=("document",), until="started", on_duplicate="debounce"))
    async def index(document: int, version: int) -> int: ...

    return index


@asynccontextmanager
async def dying_publisher(folder: Path, server: Pair, version: int) -> AsyncIterator[None]:
    """A publisher that RabbitMQ does not answer to, and that is killed at the end of the block."""
    try:
        async with publishing(folder, f"{version}") as process:
            await asyncio.to_thread(server.node.pause)
            go(process)
            yield
    finally:
        await asyncio.to_thread(server.node.resume)


def runs_in(folder: Path) -> list[int]:
    """Return the versions that were indexed, run by run."""
    path = folder / "runs"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def is_claimed(broker: Broker) -> bool:
    """Tell whether somebody has the key."""
    return await broker.unique_keys("index:") != []


async def test_killed_between_claim_and_publish(
    folder: Path, server: Pair, broker: Broker, index: Task[[int, int], int], asyncq: StartProgram
) -> None:
    """Who finds the key publishes the call of who had claimed it, and replaces it: one run, with the last arguments."""
    async with dying_publisher(folder, server, 1):
        await wait_until(lambda: is_claimed(broker), "the key is claimed")
        (owner,) = await broker.unique_keys("index:")
    second = await index.options(delay=0.1).kiq(7, 2)
    assert (second.id, second.is_new) == (owner.id, False)
    worker = await started(asyncq, "--lease", "1")
    assert await asyncio.wait_for(second, 20) == 2
    await stopped(worker)
    assert runs_in(folder) == [2]
    assert await broker.unique_keys() == []


async def test_its_claim_lapses(
    folder: Path, server: Pair, broker: Broker, index: Task[[int, int], int], asyncq: StartProgram
) -> None:
    """Where nobody else comes, a key that was claimed for what was never published is free when the claim lapses."""
    async with dying_publisher(folder, server, 1):
        await wait_until(lambda: is_claimed(broker), "the key is claimed")

    async def is_free() -> bool:
        return not await is_claimed(broker)

    await wait_until(is_free, "the claim has lapsed", timeout=15)
    second = await index.options(delay=0.1).kiq(7, 2)
    assert second.is_new
    worker = await started(asyncq, "--lease", "1")
    assert await asyncio.wait_for(second, 20) == 2
    await stopped(worker)
    assert runs_in(folder) == [2]


async def test_killed_between_the_new_body_and_its_publish(
    folder: Path,
    server: Pair,
    broker: Broker,
    index: Task[[int, int], int],
    asyncq: StartProgram,
    namespace: str,
) -> None:
    """What a call has become in the store, and nobody has published, a worker publishes; the old copy does not run."""
    first = await index.options(delay=0.1).kiq(7, 1)
    ledger, _ = RedisBroker(server.store.url, namespace=namespace).connect_ledger()
    await ledger.open()

    async def is_replaced() -> bool:
        return len(await ledger.orphans(9)) == 1

    try:
        async with dying_publisher(folder, server, 2):
            await wait_until(is_replaced, "the store has the second version")
    finally:
        await ledger.close()
    worker = await started(asyncq, "--lease", "1")
    assert await asyncio.wait_for(first, 20) == 2
    await stopped(worker)
    assert runs_in(folder) == [2]


@pytest.mark.parametrize("which", ["node", "store"])
async def test_one_of_the_two_is_killed(
    folder: Path,
    server: Pair,
    broker: Broker,
    index: Task[[int, int], int],
    asyncq: StartProgram,
    url: str,
    which: str,
) -> None:
    """While a key is debounced RabbitMQ or the store is killed: one run all the same, with the last arguments."""
    killed = server.node if which == "node" else server.store
    soon = index.options(delay=1)
    ids: set[str] = set()
    for version in range(30):
        if version == 10:
            if which == "node":
                await asyncio.to_thread(server.node.flush)
            await asyncio.to_thread(killed.kill)
        if version == 12:
            await asyncio.to_thread(killed.start)
        with suppress(BrokerUnavailable):
            ids.add((await soon.kiq(7, version)).id)

    async def is_published() -> bool:
        with suppress(BrokerUnavailable):
            ids.add((await soon.kiq(7, 30)).id)
            return True
        return False

    await wait_until(is_published, "the last version is published", timeout=30)
    worker = await started(asyncq, "--lease", "1")
    (id,) = ids
    assert await asyncio.wait_for(index.handle(id), 20) == 30
    await stopped(worker)
    assert runs_in(folder) == [30]
    assert await broker.unique_keys() == []
    await assert_drained(Publisher(broker), url)
