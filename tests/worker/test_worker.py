"""The worker, on the broker in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from time import sleep
from typing import Any

import pytest

from asyncq import Broker, ConfigurationError, MemoryBroker, Status, TaskFailed, UnknownTask, Worker
from asyncq.transport import DeadLetter, Envelope
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def publish(broker: Broker, id: str, body: bytes) -> None:
    """Publish bytes that no task of ours would."""
    session = await broker.open()
    assert await session.transport.publish([Envelope(id, "default", body)]) == [None]


async def letters(broker: Broker) -> list[DeadLetter]:
    """Return the dead letters of the default queue."""
    return list(await (await broker.open()).transport.dead_letters("default"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff no message", "cannot be decoded: These 12 bytes are no asyncq message"),
        (b'{"v":9,"id":"x","task":"t"}', "speaks protocol 9"),
        (b'{"v":1,"id":"x","task":"ad"}', "unknown task: Task 'ad' is not registered here. Near it: 'add'"),
        (b'{"v":1,"id":"x","task":"add","args":[1]}', "missing"),
        (b'{"v":1,"id":"x","task":"add","args":[1,2,3]}', "positional"),
        (b'{"v":1,"id":"x","task":"add","args":[1],"kwargs":{"c":2}}', "'c'"),
        (b'{"v":1,"id":"x","task":"add","args":[1,2],"overrides":{"retry":{"max_attempts":0}}}', "makes no sense"),
    ],
    ids=["bytes", "version", "task", "missing", "too many", "unexpected", "policy"],
)
async def test_what_cannot_run(broker: Broker, body: bytes, reason: str) -> None:
    """A message that cannot run goes to the dead letters with the reason; its waiter learns it, the worker goes on."""

    @broker.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    await publish(broker, "x", body)
    async with working(broker):
        result = await broker.handle("x").result(timeout=5)
        assert await (await add.kiq(1, 2)) == 3
    assert result.status is Status.FAILED
    [letter] = await letters(broker)
    assert reason in letter.reason
    assert letter.body == body


async def test_a_value_that_cannot_travel(broker: Broker) -> None:
    """A task that returns what JSON cannot hold, or too much, fails once, and says so."""

    @broker.task(name="odd")
    async def odd(size: int) -> Any:
        return "x" * size if size else object()

    async with working(broker):
        unfit = await (await odd.kiq(0)).result(timeout=5)
        large = await (await odd.kiq(2_000_000)).result(timeout=5)
    assert isinstance(unfit.error, TypeError)
    assert "odd" in str(unfit.error)
    assert "max_result_size" in str(large.error)
    assert (unfit.attempts, large.attempts) == (1, 1)


async def test_a_graceful_stop(broker: Broker) -> None:
    """A worker that is stopped finishes what runs, starts nothing more, and loses nothing."""
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> str:
        started.set()
        await may_end.wait()
        return "finished"

    async with working(broker, concurrency=1) as worker:
        handles = [await work.kiq() for _ in range(3)]
        await started.wait()
        worker.stop()
        may_end.set()
    assert await handles[0].status() is Status.SUCCEEDED
    assert [await handle.status() for handle in handles[1:]] == [Status.QUEUED] * 2


async def test_stopped_before_it_runs(broker: Broker) -> None:
    """A worker that is stopped before it has started does not start."""
    worker = Worker(broker)
    worker.stop()
    await worker.run()


@pytest.mark.parametrize("how", ["timeout", "second order", "cancelled"])
async def test_what_does_not_finish_is_handed_back(broker: Broker, how: str) -> None:
    """What still runs when the time is up is cancelled and handed back in its old place, with no attempt used."""
    ran: list[int] = []
    started = asyncio.Event()

    @broker.task
    async def work(number: int) -> int:
        ran.append(number)
        if len(ran) == 2:
            started.set()
            await asyncio.Event().wait()
        return number

    handles = [await work.kiq(number) for number in range(4)]
    worker = Worker(broker, concurrency=1, shutdown_timeout=0.05 if how == "timeout" else 30)
    running = asyncio.create_task(worker.run())
    await started.wait()
    if how == "cancelled":
        running.cancel()
        await asyncio.wait([running])
    else:
        worker.stop()
        if how == "second order":
            worker.stop()
        await running
    assert await handles[1].status() is Status.QUEUED
    async with working(broker, concurrency=1, burst=True):
        results = [await handle.result(timeout=5) for handle in handles]
    assert [result.attempts for result in results] == [1, 1, 1, 1]
    assert ran == [0, 1, 1, 2, 3], "handed back in its old place"


async def test_a_task_that_will_not_be_cancelled(broker: Broker) -> None:
    """A task that swallows a cancellation is cancelled again; it cannot keep the worker alive by that."""
    refusals = 0
    started = asyncio.Event()

    @broker.task
    async def stubborn() -> None:
        nonlocal refusals
        while refusals < 1:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refusals += 1
        await asyncio.Event().wait()

    async with working(broker, shutdown_timeout=0.01):
        await stubborn.kiq()
        await started.wait()
    assert refusals == 1


async def test_at_most_so_many_at_once(broker: Broker) -> None:
    """No more tasks run at once than the worker has slots, nor runs of one task than it allows."""
    running = {"free": 0, "bound": 0}
    most = {"free": 0, "bound": 0}

    async def count(name: str) -> None:
        running[name] += 1
        most[name] = max(most[name], running[name])
        for _ in range(3):
            await asyncio.sleep(0)  # others may run
        running[name] -= 1

    @broker.task
    async def free() -> None:
        await count("free")

    @broker.task(local_concurrency=2)
    async def bound() -> None:
        await count("bound")

    await broker.kiq_many(message for _ in range(100) for message in (free.message(), bound.message()))
    async with working(broker, concurrency=10, burst=True):
        pass
    assert most["free"] <= 10
    assert most["bound"] == 2


async def test_a_lost_lease(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that others took over from cancels its runs, says so, and goes on under another name."""
    runs = 0
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> int:
        nonlocal runs
        runs += 1
        mine = runs
        started.set()
        await may_end.wait()
        return mine

    async with working(broker, lease=0.3) as worker:
        handle = await work.kiq()
        await started.wait()
        await (await broker.open()).transport.release([worker.name])
        await wait_until(lambda: runs == 2, "the task runs again")
        may_end.set()
        assert await handle == 2
    assert "lost its lease" in caplog.text
    assert runs == 2


async def test_a_blocked_loop_is_named(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which task blocks the loop, and in which line; the task keeps its lease and runs once."""
    runs = 0

    @broker.task
    async def blocking() -> None:
        nonlocal runs
        runs += 1
        sleep(2.5)  # noqa: ASYNC251 - the very mistake

    caplog.set_level(logging.WARNING)
    async with working(broker, lease=0.6):
        handle = await blocking.kiq()
        await handle
    assert runs == 1
    [record] = [record for record in caplog.records if "has been blocked" in record.getMessage()][:1]
    assert handle.id in record.getMessage()
    assert "test_worker.py" in record.getMessage()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "concurrency is 1 or more"),
        ({"lease": 0}, "lease is a number of seconds"),
        ({"queues": {}}, "needs a queue"),
        ({"queues": {"bad name": None}}, "name is made of"),
        ({"queues": {"mail": 0}}, "slots is 1 or more"),
    ],
)
def test_senseless_options(options: dict[str, Any], said: str) -> None:
    """Options that make no sense are refused before anything runs."""
    with pytest.raises(ConfigurationError, match=said):
        Worker(MemoryBroker(), **options)


async def test_an_unknown_task_raises_at_the_waiter(broker: Broker) -> None:
    """Who waits for a call whose task no worker knows gets the error that says so."""
    await publish(broker, "x", b'{"v":1,"id":"x","task":"nobody"}')
    async with working(broker):
        with pytest.raises(UnknownTask, match="'nobody' is not registered"):
            await broker.handle("x")
    assert not issubclass(UnknownTask, TaskFailed)
