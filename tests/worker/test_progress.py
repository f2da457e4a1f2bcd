"""Progress: what a task may report, and what an outage does to results that wait behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncq import Broker, BrokerUnavailable, Context, Depends, MemoryBroker
from asyncq.memory import MemoryStore
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


@pytest.mark.parametrize(
    "report",
    [(object,), ("half",), (float("nan"),), (1, float("inf")), (10**400,), (1, 2, "\udcff"), (1, 2, object)],
    ids=str,
)
async def test_senseless_progress(broker: Broker, report: tuple[Any, ...]) -> None:
    """Progress that cannot be sent is an error of the task at the very call, and no fault of the worker."""

    @broker.task
    async def work(ctx: Context = Depends()) -> str:
        with pytest.raises((TypeError, ValueError), match="progress"):
            await ctx.progress(*report)
        return "went on"

    async with working(broker):
        assert await (await work.kiq()) == "went on"


async def test_results_in_an_outage_of_progress(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results do not wait until the progress of all who have reported is sent or given up."""

    async def unavailable(store: MemoryStore, *args: Any, **options: Any) -> None:
        asked.set()
        await asyncio.sleep(0.2)  # as long as a server that is silent takes
        raise BrokerUnavailable("down")

    monkeypatch.setattr(MemoryStore, "report", unavailable)
    asked, may_end = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work(ctx: Context = Depends()) -> None:
        await ctx.progress(1)
        await may_end.wait()

    async with working(broker):
        handles = [await work.kiq() for _ in range(50)]
        await asked.wait()
        may_end.set()
        async with asyncio.timeout(3):
            await asyncio.gather(*handles)


async def test_a_store_that_hangs(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that gets no answer holds back a result for a moment only."""

    async def stuck(store: MemoryStore, *args: Any, **options: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(MemoryStore, "report", stuck)

    @broker.task
    async def work(ctx: Context = Depends()) -> None:
        await ctx.progress(1)

    async with working(broker):
        async with asyncio.timeout(3):
            await (await work.kiq())
