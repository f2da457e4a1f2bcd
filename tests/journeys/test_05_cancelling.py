"""Cancelling a call, wherever it stands."""

import asyncio
import time

import pytest

from asyncq import Broker, MemoryBroker, ResultMissing, RetryPolicy, Status, TaskCancelled
from tests.journeys.conftest import MakeBroker
from tests.waiting import wait_until
from tests.working import working


async def test_before_it_runs(broker: Broker) -> None:
    """A call that is queued or scheduled ends as CANCELLED at once, and never runs."""
    ran: list[str] = []

    @broker.task
    async def work(name: str) -> None:
        ran.append(name)

    queued = await work.kiq("queued")
    scheduled = await work.options(delay=3600).kiq("scheduled")
    waiting = asyncio.ensure_future(queued.result(timeout=5))
    for handle in (queued, scheduled):
        assert await handle.cancel()
        assert await handle.status() is Status.CANCELLED
    assert (await waiting).status is Status.CANCELLED
    with pytest.raises(TaskCancelled, match="was cancelled"):
        await scheduled
    other = await work.kiq("other")
    async with working(broker, burst=True):
        await other
    assert ran == ["other"]


async def test_while_it_runs(broker: Broker, worker: None) -> None:
    """A running coroutine is cancelled and may clean up; the answer is there before that, and final."""
    started, cleaned_up, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            cleaned_up.set()
        return "too late"

    handle = await work.kiq()
    await started.wait()
    assert await handle.cancel()
    result = await handle.result(timeout=5)
    assert (result.status, result.value) == (Status.CANCELLED, None)
    assert isinstance(result.error, TaskCancelled)
    may_end.set()
    await cleaned_up.wait()
    assert await handle.status() is Status.CANCELLED


async def test_between_two_attempts(broker: Broker, worker: None) -> None:
    """A call that waits for a retry is never tried again."""
    attempts = 0

    @broker.task(retry=RetryPolicy(max_attempts=3, delay=3600))
    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError("not yet")

    handle = await flaky.kiq()

    async def is_retrying() -> bool:
        return await handle.status() is Status.RETRYING

    await wait_until(is_retrying, "the first attempt has failed")
    assert await handle.cancel()
    result = await handle.result()
    assert (result.status, result.attempts, attempts) == (Status.CANCELLED, 1, 1)
    assert [past.error_message for past in result.history] == ["not yet"]


async def test_after_its_end(broker: Broker, worker: None) -> None:
    """A call that has ended stays as it is; cancelling twice says the same twice; an unknown id is an error."""

    @broker.task(name="work")
    async def work() -> int:
        return 1

    handle = await work.kiq()
    assert await handle == 1
    assert not await handle.cancel()
    assert await handle == 1
    other = await work.options(delay=3600).kiq()
    assert await other.cancel()
    assert await other.cancel()
    with pytest.raises(ResultMissing, match="cannot be cancelled"):
        await work.handle("no-such-call").cancel()
    silent = await work.options(store_result=False, delay=3600).kiq()
    assert await silent.cancel()
    assert await silent.status() is Status.UNKNOWN


async def test_twice_at_once_where_nothing_is_kept(broker: Broker) -> None:
    """Of two who cancel a call at once that keeps no result, none is told that it ended otherwise."""

    @broker.task(store_result=False)
    async def work() -> None: ...

    handle = await work.kiq()
    first, second = await asyncio.gather(handle.cancel(), handle.cancel(), return_exceptions=True)
    assert first is True
    assert isinstance(second, ResultMissing)


async def test_past_its_time(broker: Broker) -> None:
    """A call whose time to start is over has expired, also where nobody has noticed: cancelling comes too late."""

    @broker.task(expires=0)
    async def work() -> None: ...

    handle = await work.kiq()
    published_ms = time.time_ns() // 1_000_000
    await wait_until(lambda: time.time_ns() // 1_000_000 > published_ms + 1, "it may not start any more")
    assert not await handle.cancel()
    assert await handle.status() is Status.EXPIRED


async def test_a_task_that_does_not_listen(broker: Broker, worker: None) -> None:
    """What a cancelled task still returns, raises or asks for is dropped."""
    started, ended = asyncio.Event(), asyncio.Semaphore(0)

    @broker.task(retry=RetryPolicy(delay=0))
    async def stubborn(how: str) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if how == "raise":
                raise OSError("while cleaning up") from None
        finally:
            ended.release()
        return "too late"

    @broker.task
    async def other(how: str) -> str:
        return how

    for how in ("return", "raise"):
        started.clear()
        handle = await stubborn.kiq(how)
        await started.wait()
        assert await handle.cancel()
        await ended.acquire()
        assert await (await other.kiq(how)) == how
        assert await handle.status() is Status.CANCELLED


async def test_from_another_process(broker: Broker, make_broker: MakeBroker) -> None:
    """Any process can cancel by the id, whoever published the call and whoever runs it."""
    if isinstance(broker, MemoryBroker):
        return  # one process is all it has
    started, cancelled = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with make_broker() as elsewhere, working(broker):
        handle = await work.kiq()
        await started.wait()
        assert await elsewhere.handle(handle.id).cancel()
        async with asyncio.timeout(2):  # told, not found out by and by
            await cancelled.wait()
        with pytest.raises(TaskCancelled):
            await handle


async def test_from_a_thread(broker: Broker) -> None:
    """Code without a loop cancels, too."""

    @broker.task
    async def work() -> None: ...

    handle = await work.kiq()
    assert await asyncio.to_thread(handle.cancel_sync)
    assert await handle.status() is Status.CANCELLED


async def test_its_slot_is_free_again(broker: Broker) -> None:
    """A cancelled run leaves its slot to the next; its neighbours do not notice."""
    started = asyncio.Event()

    @broker.task
    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with working(broker, concurrency=1):
        handle = await forever.kiq()
        await started.wait()
        waiting = await add.kiq(1, 2)
        assert await handle.cancel()
        assert await waiting == 3
