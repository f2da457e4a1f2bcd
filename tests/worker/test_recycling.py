"""A worker in a program that returns when it has run enough, or has grown too large."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncq import Broker, ConfigurationError, MemoryBroker, Status, Worker
from asyncq.worker import recycling
from asyncq.worker.memory import resident_bytes
from asyncq.worker.recycling import MEGABYTE
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_by_count(broker: Broker) -> None:
    """After max_tasks runs, and what has begun by then, `run` returns; the rest stays in its place."""

    @broker.task
    async def work() -> None: ...

    handles = [await work.kiq() for _ in range(10)]
    await Worker(broker, concurrency=1, max_tasks=4).run()
    states = [await handle.status() for handle in handles]
    assert states.count(Status.SUCCEEDED) in (4, 5)
    assert states.count(Status.QUEUED) in (5, 6)


async def test_what_runs_may_finish(broker: Broker) -> None:
    """What runs then has all the time it needs, until the worker is told to stop."""
    started, goes_on = asyncio.Event(), asyncio.Event()

    @broker.task
    async def long() -> str:
        started.set()
        await goes_on.wait()
        return "done"

    @broker.task
    async def short() -> None: ...

    for how in ("finish", "stop"):
        started.clear()
        goes_on.clear()
        worker = Worker(broker, max_tasks=1, shutdown_timeout=0.01)
        running = asyncio.create_task(worker.run())
        handle = await long.kiq()
        await started.wait()
        await (await short.kiq())
        await asyncio.wait([running], timeout=0.1)
        assert not running.done()
        goes_on.set() if how == "finish" else worker.stop()
        await running
        assert await handle.status() is (Status.SUCCEEDED if how == "finish" else Status.QUEUED)


async def test_by_memory(broker: Broker) -> None:
    """A worker that comes to have more memory than max_memory says so."""
    reached = asyncio.Event()
    hoard: list[bytes] = []

    @broker.task
    async def grow() -> None:
        hoard.append(b"x" * 50_000_000)

    worker = Worker(broker, max_memory=resident_bytes() / MEGABYTE + 10, on_spent=reached.set)
    running = asyncio.create_task(worker.run())
    await grow.kiq()
    await reached.wait()
    assert not running.done()
    worker.retire()
    await running


async def test_more_at_rest_than_max_memory(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that needs more than max_memory before it runs anything warns; one after the other would be replaced."""
    monkeypatch.setattr(recycling, "LOOK_SECONDS", 0.01)
    reached = asyncio.Event()
    hoard: list[bytes] = []

    @broker.task
    async def grow(size: int) -> None:
        hoard.append(b"x" * size)

    async with working(broker, max_memory=0.001, on_spent=reached.set):
        await (await grow.kiq(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reached.wait(), 0.1)
        await grow.kiq(round(resident_bytes()))
        await reached.wait()
    assert "before it has run anything" in caplog.text


def test_memory() -> None:
    """What is measured grows with what a program holds."""
    before = resident_bytes()
    held = b"x" * 50_000_000
    assert resident_bytes() - before > 0.9 * len(held)


@pytest.mark.parametrize("option", ["max_tasks", "max_memory", "pool_processes"])
def test_refusals(option: str) -> None:
    """Limits of nothing are refused."""
    options: dict[str, Any] = {option: 0}
    with pytest.raises(ConfigurationError, match=f"{option} is more than 0"):
        Worker(MemoryBroker(), **options)
