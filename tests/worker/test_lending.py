"""Tasks that await tasks: the slot of the parent is lent out, however it waits and however it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asyncq import Broker, MemoryBroker, TaskTimeout
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_parents_in_threads(broker: Broker) -> None:
    """A parent in a thread that waits for a child in a thread gets its result, where one task runs at a time."""

    @broker.task
    def child() -> str:
        return "done"

    @broker.task
    def parent() -> object:
        return child.kiq_sync().result_sync(timeout=5).value

    async with working(broker, concurrency=1):
        assert await (await parent.kiq()) == "done"


async def test_a_task_that_waits_for_itself(broker: Broker) -> None:
    """A task of which one run is allowed at a time may wait for another run of itself."""

    @broker.task(local_concurrency=1)
    async def countdown(number: int) -> int:
        return number and await (await countdown.kiq(number - 1))

    async with working(broker, concurrency=1):
        assert (await (await countdown.kiq(3)).result(timeout=5)).value == 0


async def test_one_run_at_a_time_with_lending(broker: Broker) -> None:
    """A run that goes on after it has waited counts among the runs of its task again."""
    most = running = 0

    @broker.task
    async def child() -> None: ...

    @broker.task(local_concurrency=1)
    async def parent() -> None:
        nonlocal most, running
        handle = await child.kiq()
        await handle
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)  # others may run
        running -= 1

    async with working(broker, concurrency=5):
        await asyncio.gather(*[await parent.kiq() for _ in range(10)])
    assert most == 1


async def test_a_time_limit_while_the_slot_is_lent(broker: Broker) -> None:
    """A parent that is over its time limit ends at once, although its child still has its slot."""
    child_may_end = asyncio.Event()

    @broker.task
    async def child() -> None:
        await child_may_end.wait()

    @broker.task(timeout=0.05, retry=None)
    async def parent() -> None:
        await (await child.kiq())

    async with working(broker, concurrency=1):
        result = await (await parent.kiq()).result(timeout=2)
        child_may_end.set()
    assert isinstance(result.error, TaskTimeout)


async def test_what_a_run_leaves_behind(broker: Broker) -> None:
    """A run that leaves a task of its own behind, waiting, gives back its slot once: no more run than may."""
    most = running = 0
    left: list[asyncio.Task[object]] = []

    @broker.task
    async def careless() -> None:
        left.append(asyncio.ensure_future(broker.handle("never").result(wait_for_publish=60)))
        for _ in range(5):
            await asyncio.sleep(0)  # the wait that it leaves behind begins

    @broker.task
    async def count() -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)  # others may run
        running -= 1

    async with working(broker, concurrency=1):
        await asyncio.gather(*[await careless.kiq() for _ in range(3)])
        await asyncio.gather(*[await count.kiq() for _ in range(10)])
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    assert most == 1


async def test_stopping_with_a_line(broker: Broker) -> None:
    """A worker that is stopped while deliveries stand in line behind parents hands all of them back."""
    waiting = 0
    all_wait = asyncio.Event()

    @broker.task
    async def child() -> None: ...

    @broker.task
    async def parent() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            all_wait.set()
        await broker.handle("signal").result(wait_for_publish=60)
        await asyncio.Event().wait()

    @broker.task(queue="other")
    async def signal() -> None: ...

    async with working(broker, concurrency=3, queues={"default": None}, shutdown_timeout=0.05):
        await broker.kiq_many(parent.message() for _ in range(3))
        await all_wait.wait()
        await signal.options(id="signal").kiq()
        async with working(broker, queues={"other": None}, burst=True):
            pass
        handles = [await child.kiq() for _ in range(5)]
    async with working(broker, queues={"default": None}, shutdown_timeout=0.05):
        for handle in handles:
            await handle.result(timeout=5)
