"""Queues and workers, as a program looks at them."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from asyncq import Broker, MemoryBroker, Queue, RetryPolicy, WorkerInfo
from asyncq.testing import MovableClock
from asyncq.transport import Envelope
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
def clock() -> MovableClock:
    """The clock of the broker."""
    return MovableClock()


@pytest.fixture
async def broker(clock: MovableClock) -> AsyncIterator[Broker]:
    """An open broker in memory, whose time is moved."""
    async with MemoryBroker(clock=clock, queues=[Queue("declared")]) as broker:
        yield broker


async def test_queues(broker: Broker, clock: MovableClock) -> None:
    """Each queue that a task or a Queue names, or that was published to, is counted, with its oldest age."""

    @broker.task(queue="mail")
    async def send() -> None: ...

    await send.kiq()
    clock.move(90)
    await send.options(priority=5).kiq()
    await send.options(delay=60).kiq()
    await send.options(queue="elsewhere", delay=10).kiq()
    clock.move(30)
    queues = {counts.queue: counts for counts in await broker.queue_counts()}
    assert list(queues) == ["declared", "default", "elsewhere", "mail"]
    mail = queues["mail"]
    assert (mail.ready, mail.scheduled, mail.running, mail.dead, mail.workers) == (2, 1, 0, 0, 0)
    assert mail.oldest == 120
    assert (queues["elsewhere"].ready, queues["elsewhere"].oldest) == (1, 20)
    assert (queues["default"].ready, queues["default"].oldest) == (0, None)


async def test_the_age_of_a_retry(broker: Broker, clock: MovableClock) -> None:
    """A call that was tried before is as old as the time at which it became due again; so is one that died."""

    @broker.task(retry=RetryPolicy(max_attempts=2, delay=10, jitter=False))
    async def fail() -> None:
        raise ValueError("no")

    async def oldest() -> float | None:
        (counts,) = [counts for counts in await broker.queue_counts() if counts.queue == "default"]
        return counts.oldest

    await fail.kiq()
    clock.move(3600)
    async with working(broker, burst=True):
        pass
    clock.move(15)
    assert await oldest() == 5
    async with working(broker, burst=True):
        pass
    await broker.dead.retry(everything=True)
    clock.move(7)
    assert await oldest() == 7


async def test_the_age_of_what_does_not_tell(broker: Broker) -> None:
    """Ready messages that don't say when they were published have no age."""
    transport = (await broker.open()).transport
    await transport.publish([Envelope("x", "default", b"\xff no message")])
    (counts,) = [counts for counts in await broker.queue_counts() if counts.queue == "default"]
    assert (counts.ready, counts.oldest) == (1, None)


async def test_workers(broker: Broker) -> None:
    """A worker is seen with where it runs, what it consumes and how much of it is taken, until it has left."""
    started, goes_on = asyncio.Event(), asyncio.Event()

    @broker.task(name="meet")
    async def meet() -> None:
        started.set()
        await goes_on.wait()

    assert await broker.workers() == []
    async with working(broker, concurrency=2, lease=0.3) as worker:
        await meet.kiq()
        await started.wait()

        async def has_told() -> bool:
            return [info.running for info in await broker.workers()] == [1]

        await wait_until(has_told, "the worker has told that it runs one")
        (info,) = await broker.workers()
        assert info.name == f"{worker.name}.1"
        assert (info.host, info.pid, info.queues) == (socket.gethostname(), os.getpid(), ("default",))
        assert (info.slots, info.dead, info.is_full) == (2, 0, False)
        assert info.started_at is not None
        assert info.silence is not None
        assert 0 < info.lease_left <= 0.3
        assert info.is_healthy(within=60)
        goes_on.set()
    assert await broker.workers() == []


@pytest.mark.parametrize(
    ("silence", "is_full", "lease_left", "is_healthy"),
    [
        (59.0, False, 10.0, True),
        (61.0, False, 10.0, False),
        (61.0, True, 10.0, True),
        (0.0, True, 0.0, False),
        (None, False, 10.0, False),
    ],
)
def test_health(silence: float | None, is_full: bool, lease_left: float, is_healthy: bool) -> None:
    """Healthy is who has a lease, has told of itself, and was answered of late or is full."""
    info = WorkerInfo("w", "h", 1, ["default"], None, 10, 10 if is_full else 0, 0, silence, is_full, lease_left)
    assert info.is_healthy(within=60) == is_healthy
