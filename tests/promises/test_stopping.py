"""SIGTERM: nothing that runs is cut off, nothing that waits is touched."""

import asyncio
from signal import SIGTERM

import pytest

from asyncq import MemoryBroker, Status
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.waiting import wait_until
from tests.working import working

TASKS = 5_000
PART = 1_000


@pytest.mark.parametrize("kind", ["sqlite", "redis", "rabbitmq", "rabbitmq alone"])
async def test_idle(asyncq: StartProgram) -> None:
    """An idle worker is gone within a second, with exit code 0."""
    worker = await started(asyncq)

    worker.signal(SIGTERM)

    assert await worker.exits(timeout=1) == 0


async def test_idle_in_memory() -> None:
    """An idle worker on a broker in memory, which lives in the program's own process, stops within a second, too."""
    async with MemoryBroker() as broker, asyncio.timeout(None) as limit, working(broker):
        limit.reschedule(asyncio.get_running_loop().time() + 1)


async def test_busy(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """Tasks that end in time end here; the rest goes back, to its old place wherever the broker has any."""
    handles = {name: await publisher.hold.kiq(name) for name in "abcdefgh"}
    worker = await started(asyncq, "--concurrency", "4", "--shutdown-timeout", "1")
    await wait_until(lambda: effects.count() == 4, "four of them run")

    worker.signal(SIGTERM)
    await worker.says("Waiting up to 1 s for 4 running tasks.")
    effects.let_go_on("a", "b")
    assert await worker.exits(timeout=3) == 0

    assert await results_of([handles["a"], handles["b"]]) == [worker.pid] * 2
    assert [await handles[name].status() for name in "cdefgh"] == [Status.QUEUED] * 6
    effects.let_go_on(*"cdefgh")
    other = await started(asyncq, "--concurrency", "1")
    assert await results_of(handles[name] for name in "cdefgh") == [other.pid] * 6
    order = "".join(effects.names()[4:])
    assert sorted(order) == [*"cdefgh"]
    assert order == "cdefgh" or not publisher.broker.capabilities.keeps_place
    assert [(await handle.result()).attempts for handle in handles.values()] == [1] * 8


async def test_under_load(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A worker that is replaced in the middle of 5,000 tasks runs none twice and loses none."""
    async with publisher.all_told(TASKS):
        worker = await started(asyncq, "--concurrency", "50")
        await effects.midway(PART, TASKS)
        await stopped(worker)
        other = await started(asyncq, "--concurrency", "50")
    assert effects.count() == len(effects.runs()) == TASKS
    await stopped(other)
    await assert_drained(publisher, url)
