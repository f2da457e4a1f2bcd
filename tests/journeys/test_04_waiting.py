"""Waiting for results: here, elsewhere, within bounds."""

import asyncio

import pytest

from asyncq import Broker, Context, Depends, MemoryBroker, ResultMissing, ResultTimeout, Status
from asyncq.broker.subscription import SAFETY_SECONDS
from tests.journeys.conftest import MakeBroker
from tests.working import working


async def test_a_bound(broker: Broker) -> None:
    """A wait with a time limit ends in ResultTimeout; the call goes on."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.kiq()
    with pytest.raises(ResultTimeout, match=r"within 0\.01 s"):
        await handle.result(timeout=0.01)
    with pytest.raises(ResultTimeout, match="not ended yet"):
        await handle.result(timeout=0)
    async with working(broker, burst=True):
        assert (await handle.result(timeout=5)).status is Status.SUCCEEDED


async def test_an_unknown_id(broker: Broker) -> None:
    """Nobody waits for an id that nobody knows, unless told to wait for it to appear."""

    @broker.task
    async def nothing() -> None: ...

    with pytest.raises(ResultMissing, match="nobody knows"):
        await nothing.handle("no-such-call")
    waiting = asyncio.create_task(nothing.handle("soon").result(timeout=5, wait_for_publish=5))
    await nothing.options(id="soon").kiq()
    async with working(broker, burst=True):
        assert (await waiting).status is Status.SUCCEEDED


async def test_from_another_process(broker: Broker, make_broker: MakeBroker) -> None:
    """Any process can wait for a call by its id, whoever published it and whoever runs it."""
    if isinstance(broker, MemoryBroker):
        return  # one process is all it has
    async with make_broker() as elsewhere:

        @broker.task(name="add", queue="sums")
        async def add(a: int, b: int) -> int:
            return a + b

        handle = await add.kiq(1, 2)
        waiting = [asyncio.create_task(elsewhere.handle(handle.id).result(timeout=5)) for _ in range(3)]
        async with working(broker, burst=True):
            assert [(await each).value for each in waiting] == [3, 3, 3]
        assert (await elsewhere.handle(handle.id).result()).value == 3


async def test_many_callers(broker: Broker, worker: None) -> None:
    """However many call and wait at the same time, each is told its own result at once."""

    @broker.task
    async def double(number: int) -> int:
        return 2 * number

    async def caller(number: int) -> None:
        for _ in range(5):
            assert await (await double.kiq(number)) == 2 * number

    async with asyncio.timeout(SAFETY_SECONDS - 1):  # one that is not told would find out no sooner
        await asyncio.gather(*(caller(number) for number in range(300)))


async def test_a_task_awaits_a_task(broker: Broker) -> None:
    """A task that awaits another lends it its slot: parent and child end even where one runs at a time."""

    @broker.task
    async def depth(levels: int) -> int:
        return 1 + await (await depth.kiq(levels - 1)) if levels else 0

    async with working(broker, concurrency=1):
        handles = [await depth.kiq(5) for _ in range(10)]
        assert await asyncio.gather(*handles) == [5] * 10


async def test_progress(broker: Broker, worker: None) -> None:
    """A task says how far it is; who follows its events sees the latest, and last how it ended."""
    may_end = asyncio.Event()

    @broker.task
    async def work(rows: int, ctx: Context = Depends()) -> str:
        for row in range(rows):
            await ctx.progress(row + 1, rows, "reading")
        await may_end.wait()
        await ctx.progress(rows, rows, "read")
        return "done"

    handle = await work.kiq(1_000)
    seen: list[tuple[float, str]] = []
    async for event in handle.events():
        if event.progress is not None:
            seen.append((event.progress.done, event.progress.note))
        if seen and seen[-1] == (1_000, "reading"):
            may_end.set()
        if event.result is not None:
            assert (event.status, event.result.value) == (Status.SUCCEEDED, "done")
    assert (1_000, "reading") in seen
    assert len(seen) < 100, "reports are coalesced"
    progress = await handle.progress()
    assert progress is None or progress.note == "read"


async def test_from_a_thread(broker: Broker, worker: None) -> None:
    """Code in a thread, such as a def handler of a web framework, publishes and waits without a loop of its own."""

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    def handler() -> int:
        handle = add.kiq_sync(1, 2)
        value = handle.result_sync(timeout=5).value
        assert value is not None
        return value

    assert await asyncio.to_thread(handler) == 3
