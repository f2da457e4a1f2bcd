"""Stopping a worker, in odd moments and by odd means."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker, BrokerUnavailable, MemoryBroker, Retry, RetryPolicy, SQLiteBroker, Status, Worker
from asyncq.memory import MemoryTransport
from asyncq.memory.consumer import MemoryConsumer
from asyncq.memory.membership import MemoryLease
from asyncq.transport import Settlement
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


@pytest.mark.parametrize("how", ["error", "group"])
async def test_a_task_that_fails_because_it_is_stopped(broker: Broker, how: str) -> None:
    """A task that turns the worker's cancellation into an error of its own is handed back, not failed for good."""
    started = asyncio.Event()

    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("while cleaning up")

    @broker.task(retry=None)
    async def work() -> None:
        started.set()
        if how == "error":
            await clean_up()
        async with asyncio.TaskGroup() as group:
            group.create_task(clean_up())

    async with working(broker, shutdown_timeout=0.01):
        handle = await work.kiq()
        await started.wait()
    assert await handle.status() is Status.QUEUED


async def test_a_worker_ends_with_its_session(caplog: pytest.LogCaptureFixture) -> None:
    """A fault that breaks the connections of a worker ends it, and comes out of it; nothing would reach it any more."""
    broker = MemoryBroker()
    started = asyncio.Event()

    @broker.task
    async def work() -> None:
        started.set()

    async def fault() -> None:
        raise RuntimeError("a fault of ours")

    running = asyncio.create_task(Worker(broker).run())
    await work.kiq()
    await started.wait()
    (await broker.open()).start(fault())
    assert (await asyncio.wait([running], timeout=20))[0], "The worker goes on."
    with pytest.raises(ExceptionGroup) as caught:
        await running
    assert caught.group_contains(RuntimeError, match="a fault of ours")
    assert "broke by a fault" in caplog.text
    await broker.close()


async def test_what_a_stopped_task_says_holds(broker: Broker) -> None:
    """A task that answers the worker's cancellation with a signal gets what it asked for."""
    started = asyncio.Event()

    @broker.task(retry=RetryPolicy(max_attempts=2))
    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Retry(delay=60) from None

    async with working(broker, shutdown_timeout=0.01):
        handle = await work.kiq()
        await started.wait()
    assert await handle.status() is Status.RETRYING


async def test_cancelled_worker_settles_what_has_ended(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is cancelled still settles what finishes meanwhile, so that it does not run again."""
    started = asyncio.Event()

    @broker.task
    async def work() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished"
        return "never"

    handle = await work.kiq()
    running = asyncio.create_task(Worker(broker).run())
    await started.wait()
    monkeypatch.setattr(MemoryConsumer, "settle", delayed(MemoryConsumer.settle, 20))
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert (await handle.result(timeout=0)).value == "finished"


class StuckConsumer(MemoryConsumer):
    """A consumer whose server does not answer when it leaves."""

    async def leave(self) -> int:
        await asyncio.Event().wait()
        return 0


async def test_cancelled_twice(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is cancelled again while it hands back leaves no heartbeat that renews its lease for ever."""
    monkeypatch.setattr(MemoryConsumer, "leave", StuckConsumer.leave)
    started = asyncio.Event()
    running = asyncio.create_task(Worker(broker, on_started=started.set).run())
    await started.wait()
    await asyncio.sleep(0)  # it begins to work
    for _ in range(2):
        running.cancel()
        await asyncio.wait([running], timeout=0.05)
    assert running.cancelled()
    await wait_until(
        lambda: not [each for each in threading.enumerate() if each.name == "asyncq-heartbeat"],
        "the heartbeat has stopped",
        timeout=2,
    )


async def test_stopping_with_a_full_executor(broker: Broker) -> None:
    """A worker stops although every thread of the loop's own executor is taken for good."""
    may_end = threading.Event()
    loop = asyncio.get_running_loop()
    taken = [loop.run_in_executor(None, may_end.wait) for _ in range(64)]
    try:
        async with asyncio.timeout(3):
            async with working(broker):
                pass
    finally:
        may_end.set()
        await asyncio.wait(taken)


async def test_a_lease_lost_while_stopping(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that loses its lease while it waits for running tasks does not go on running what others run."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with working(broker, lease=0.3) as worker:
        await work.kiq()
        await started.wait()
        caplog.set_level(logging.INFO)
        worker.stop()
        await wait_until(lambda: "Waiting up to" in caplog.text, "the worker waits for what runs")
        await (await broker.open()).transport.release([worker.name])
        async with asyncio.timeout(5):
            await cancelled.wait()


async def test_a_faulty_heartbeat(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose heartbeat fails hands back what runs before its lease is over, and raises the fault."""
    started = asyncio.Event()
    renewals = 0

    def renew(lease: MemoryLease, about: bytes | None = None) -> bool:
        nonlocal renewals
        renewals += 1
        if renewals > 1:
            raise RuntimeError("a fault of ours")
        return True

    @broker.task
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(MemoryLease, "renew", renew)
    handle = await work.kiq()
    with pytest.raises(RuntimeError, match="a fault of ours"):
        async with asyncio.timeout(5):
            await Worker(broker, lease=0.3).run()
    assert await handle.status() is Status.QUEUED


async def test_stopped_while_joining(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped before the server has answered it ends at once."""
    asked = asyncio.Event()

    async def silent(*args: Any, **options: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(MemoryTransport, "consumer", silent)
    worker = Worker(broker)
    running = asyncio.create_task(worker.run())
    await asked.wait()
    worker.stop()
    async with asyncio.timeout(1):
        await running


def slowed(method: Callable[..., Awaitable[Any]], turns: int) -> Callable[..., Awaitable[Any]]:
    """Return a method whose answer takes some turns of the loop to come back."""

    async def slow(*args: Any, **options: Any) -> Any:
        answer = await method(*args, **options)
        for _ in range(turns):
            await asyncio.sleep(0)
        return answer

    return slow


def delayed(method: Callable[..., Awaitable[Any]], turns: int) -> Callable[..., Awaitable[Any]]:
    """Return a method that takes some turns of the loop to reach the server."""

    async def late(*args: Any, **options: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await method(*args, **options)

    return late


async def test_burst_waits_for_settlements(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst is not over while the end of a run is being settled that makes a task ready again."""
    runs = 0

    @broker.task(retry=RetryPolicy(max_attempts=3, delay=0))
    async def work() -> None:
        nonlocal runs
        runs += 1
        raise ValueError("again")

    monkeypatch.setattr(MemoryConsumer, "fetch", slowed(MemoryConsumer.fetch, 20))
    monkeypatch.setattr(MemoryConsumer, "settle", delayed(MemoryConsumer.settle, 200))
    await work.kiq()
    async with working(broker, burst=True):
        pass
    assert runs == 3


async def test_stopped_while_it_joins(tmp_path: Path) -> None:
    """A worker that is stopped in any moment of its start leaves nobody among the workers who is not there."""
    async with SQLiteBroker(tmp_path / "queue.db") as broker:
        for turns in range(40):
            worker = Worker(broker)
            running = asyncio.create_task(worker.run())
            for _ in range(turns):
                await asyncio.sleep(0)  # each time a step further
            worker.stop()
            await running
            assert list(await broker.workers()) == []


async def test_who_has_left_has_lost_nothing(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A lease that is renewed while its worker leaves is not lost: the worker ends, and does not come back for more."""
    for _ in range(50):
        await Worker(broker, burst=True).run()  # so short that the first renewal mostly meets its end
    assert "lost its lease" not in caplog.text


async def test_burst_sees_what_the_last_run_published(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst does not end with the answer to a fetch that was asked before the last run published more."""
    ran: list[int] = []

    @broker.task
    async def work(number: int) -> None:
        ran.append(number)
        if number:
            await work.kiq(number - 1)

    monkeypatch.setattr(MemoryConsumer, "fetch", slowed(MemoryConsumer.fetch, 20))
    await work.kiq(3)
    async with working(broker, burst=True):
        pass
    assert ran == [3, 2, 1, 0]


async def test_an_outage_while_joining_does_not_outlive_the_stop(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped while it tries to join again, in an outage, ends at once."""
    asked = asyncio.Event()

    async def unavailable(*args: Any, **options: Any) -> Any:
        asked.set()
        raise BrokerUnavailable("down")

    monkeypatch.setattr(MemoryTransport, "consumer", unavailable)
    worker = Worker(broker)
    running = asyncio.create_task(worker.run())
    await asked.wait()
    worker.stop()
    async with asyncio.timeout(1):
        await running


async def test_an_outage_that_ends_before_the_time_to_stop_does(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told to stop while the server does not answer tells it what has ended when it is back in time.

    Else that would run again, and count a crash of a worker that has ended in order.
    """
    outage = Outage(monkeypatch)
    work = broker.task(outage.task)
    async with asyncio.timeout(5), working(broker, shutdown_timeout=60) as worker:
        handle = await work.kiq()
        await outage.wait_refused(1)
        worker.stop()
        await outage.wait_refused(4)
        outage.end()
        assert (await handle.result(timeout=5)).status is Status.SUCCEEDED


async def test_an_outage_is_not_waited_out_by_who_is_told_twice(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second order to stop ends the wait for a server that does not answer."""
    outage = Outage(monkeypatch)
    work = broker.task(outage.task)
    async with asyncio.timeout(5), working(broker, shutdown_timeout=60) as worker:
        handle = await work.kiq()
        await outage.wait_refused(1)
        worker.stop()
        await outage.wait_refused(2)
        worker.stop()
    assert await handle.status() is Status.QUEUED


class Outage:
    """A server that settles nothing until it ends; a worker that hands back gives it up in no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._refused = 0
        self._is_over = False
        settle = MemoryConsumer.settle

        async def settled(consumer: MemoryConsumer, settlements: Sequence[Settlement]) -> Sequence[bool]:
            if not self._is_over:
                self._refused += 1
                raise BrokerUnavailable("down")
            return await settle(consumer, settlements)

        monkeypatch.setattr(MemoryConsumer, "settle", settled)
        monkeypatch.setattr("asyncq.worker.membership.HAND_BACK_SECONDS", 0.01)

    async def task(self) -> None:
        """A call that ends at once."""

    def end(self) -> None:
        """Settle from now on."""
        self._is_over = True

    async def wait_refused(self, count: int) -> None:
        """Wait until so many settlements were refused."""
        await wait_until(lambda: self._refused >= count, f"{count} settlements were refused")
