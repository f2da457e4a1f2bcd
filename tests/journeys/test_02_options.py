"""What a call, or all calls of a task, can be told."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from asyncq import Broker, ConfigurationError, DuplicateId, Queue, ResultMissing, Status
from asyncq.turns import pass_turns
from tests.journeys.conftest import MakeBroker
from tests.working import working


async def test_a_delay(broker: Broker, worker: None) -> None:
    """A delayed call is scheduled, and starts when it is due."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.options(delay=0.3).kiq()
    assert await handle.status() is Status.SCHEDULED
    result = await handle.result(timeout=5)
    assert result.started_at is not None
    assert result.enqueued_at is not None
    # It is due by the server's clock, of which this process knows what the last answer told, and how long that took.
    assert 0.25 <= (result.started_at - result.enqueued_at).total_seconds() < 1


async def test_a_time(broker: Broker, worker: None) -> None:
    """A call can be due at an aware datetime; a naive one is refused."""

    @broker.task
    async def nothing() -> None: ...

    at = datetime.now(UTC) + timedelta(seconds=0.3)
    result = await (await nothing.options(at=at).kiq()).result(timeout=5)
    assert result.started_at
    assert -0.01 <= (result.started_at - at).total_seconds() < 1
    with pytest.raises(ConfigurationError, match="no time zone"):
        nothing.options(at=datetime(2026, 1, 1))  # noqa: DTZ001 - the very mistake


async def test_an_id_is_published_once(broker: Broker, worker: None) -> None:
    """Publishing an id again gives the handle of the first call; with other arguments it is an error."""

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    order = add.options(id="order-17")
    first = await order.kiq(1, 2)
    again = await order.kiq(1, 2)
    assert (first.is_new, again.is_new) == (True, False)
    assert await again == 3
    assert not (await order.kiq(1, 2)).is_new, "an id is taken as long as its result is kept"
    with pytest.raises(DuplicateId, match="order-17"):
        await order.kiq(1, 3)


async def test_larger_priority_first(broker: Broker) -> None:
    """Within a queue larger priorities run first, equal ones in the order in which they were published."""
    ran: list[str] = []

    @broker.task
    async def note(name: str) -> None:
        ran.append(name)

    for name, priority in (("a", 0), ("b", 9), ("c", 0), ("d", 5), ("e", 9)):
        await note.options(priority=priority).kiq(name)
    async with working(broker, concurrency=1, burst=True):
        pass
    assert ran == ["b", "e", "d", "a", "c"]


async def test_expired_calls_do_not_run(broker: Broker) -> None:
    """A call that no worker starts in time ends as expired, and who waits learns it within a second."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.options(expires=0.2).kiq()
    async with asyncio.timeout(1.2):
        result = await handle.result()
    assert result.status is Status.EXPIRED
    assert await handle.status() is Status.EXPIRED


async def test_without_a_result(broker: Broker, worker: None) -> None:
    """With store_result=False nothing is kept: there is a status until the task ends, and nothing to await."""
    may_end = asyncio.Event()

    @broker.task(store_result=False)
    async def quiet() -> None:
        await may_end.wait()

    handle = await quiet.kiq()
    assert await handle.status() in {Status.QUEUED, Status.RUNNING}
    with pytest.raises(ResultMissing, match="store_result=False"):
        await handle
    elsewhere = asyncio.create_task(broker.handle(handle.id).result())
    may_end.set()
    with pytest.raises(ResultMissing):
        await elsewhere


async def test_many_at_once(broker: Broker, worker: None) -> None:
    """kiq_many publishes any number of calls in few round trips and gives their handles in order."""

    @broker.task
    async def double(number: int) -> int:
        return 2 * number

    handles = await broker.kiq_many(double.message(number) for number in range(1_200))
    assert await asyncio.gather(*handles) == [2 * number for number in range(1_200)]


async def test_a_queue_of_its_own(make_broker: MakeBroker) -> None:
    """A task names its queue, and a queue has a bound of its own within the worker's."""
    running = most = 0
    async with make_broker(queues=[Queue("mail", concurrency=2)]) as broker:

        @broker.task(queue="mail")
        async def send() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await pass_turns()
            running -= 1

        async with working(broker, burst=True):
            await broker.kiq_many(send.message() for _ in range(50))
    assert most <= 2
