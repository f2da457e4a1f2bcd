"""Expiring in line: a call that waits for a limit, or for its group's turn, ends in time like any other."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from asyncq import Broker, ConcurrencyLimit, RateLimit, Status
from tests.journeys.conftest import KINDS
from tests.waiting import wait_until
from tests.working import working

pytestmark = pytest.mark.usefixtures("rabbitmq_server")

LINES: dict[str, dict[str, Any]] = {
    "a slot": {"concurrency": ConcurrencyLimit(1)},
    "a turn": {"rate_limit": RateLimit(1, per=60)},
    "a pause": {"rate_limit": RateLimit(100, per=60)},
    "its group": {"group": lambda name: "ours"},
}
"""What a call may wait for, by the options of its task."""


@pytest.fixture(params=(*KINDS, "rabbitmq"))
def kind(request: pytest.FixtureRequest) -> str:
    """Every broker that keeps limits; RabbitMQ has a store beside it."""
    return request.param


@pytest.mark.parametrize("line", LINES)
async def test_who_waits_for_a_call_in_line_learns_that_it_expired(broker: Broker, line: str) -> None:
    """Whatever it waits for, its caller learns within a second that it has expired, and it leaves the line."""
    may_end = asyncio.Event()
    runs: list[str] = []

    @broker.task(name="work", **LINES[line])
    async def work(name: str) -> None:
        runs.append(name)
        await may_end.wait()

    async with working(broker, concurrency=1 if line == "its group" else 10):
        first = await work.kiq("first")
        await wait_until(has_run(runs), "the first runs")
        if line == "a pause":
            await broker.rate_limit("work", 100, per=60).pause(60)
        late = await work.options(expires=0.5).kiq("late")
        if line != "its group":  # which stands in the queue itself
            await wait_until(counted(broker, waiting=True), "it waits")
        begin = time.monotonic()
        assert (await late.result(timeout=5)).status is Status.EXPIRED
        assert time.monotonic() - begin < 0.5 + 1
        await wait_until(counted(broker, waiting=False), "it has left the line")
        assert await late.status() is Status.EXPIRED
        may_end.set()
        await first
    assert runs == ["first"]


@pytest.mark.parametrize("line", LINES)
async def test_who_follows_a_call_in_line_learns_it_without_a_worker(broker: Broker, line: str) -> None:
    """So does who follows its events, also where the worker that has let it stand there is gone."""
    runs: list[str] = []

    @broker.task(name="work", **LINES[line])
    async def work(name: str) -> None:
        runs.append(name)

    async with AsyncExitStack() as held:
        if line == "a slot":
            await held.enter_async_context(broker.concurrency_limit("work", 1))
        elif line == "a turn":
            await broker.rate_limit("work", 1, per=60).acquire()
        elif line == "a pause":
            await broker.rate_limit("work", 100, per=60).pause(60)
        begin = time.monotonic()
        if line == "its group":
            late = await work.options(expires=0.5).kiq("late")
        else:
            async with working(broker):
                late = await work.options(expires=2).kiq("late")
                await wait_until(counted(broker, waiting=True), "it waits")
        statuses = [event.status async for event in late.events()]
        assert time.monotonic() - begin < 2 + 1
        assert (statuses[0], statuses[-1]) == (Status.QUEUED, Status.EXPIRED)
    await wait_until(counted(broker, waiting=False), "it has left the line")
    assert not runs


async def test_who_stands_behind_it_has_its_turn(broker: Broker) -> None:
    """The next in line gets the slot that comes free, as if the expired call had never been there."""
    may_end = asyncio.Event()
    runs: list[str] = []

    @broker.task(concurrency=ConcurrencyLimit(1))
    async def work(name: str) -> None:
        runs.append(name)
        if name == "first":
            await may_end.wait()

    async with working(broker):
        await work.kiq("first")
        await wait_until(has_run(runs), "the first runs")
        late = await work.options(expires=0.3).kiq("late")
        last = await work.kiq("last")
        assert (await late.result(timeout=5)).status is Status.EXPIRED
        may_end.set()
        assert (await last.result(timeout=5)).status is Status.SUCCEEDED
    assert runs == ["first", "last"]


def has_run(runs: list[str]) -> Callable[[], bool]:
    """Return whether something has."""
    return lambda: bool(runs)


def counted(broker: Broker, *, waiting: bool) -> Any:
    """Return a probe of whether somebody stands in line."""

    async def probe() -> bool:
        return any(counts.waiting for counts in await broker.queue_counts()) == waiting

    return probe
