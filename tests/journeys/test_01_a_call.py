"""A call, from kiq to its result."""

import pytest

from asyncq import Broker, Status
from tests.working import working


async def test_await_the_handle(broker: Broker, worker: None) -> None:
    """Awaiting the handle of a published call gives what the task returns."""

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    handle = await add.kiq(1, b=2)
    assert await handle == 3
    assert await handle == 3, "a handle may be awaited again"


async def test_a_plain_call_runs_here(broker: Broker) -> None:
    """Calling a task without kiq calls the function."""

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    @broker.task
    def double(number: int) -> int:
        return 2 * number

    assert await add(1, 2) == 3
    assert double(4) == 8


async def test_a_plain_function_is_a_task_too(broker: Broker, worker: None) -> None:
    """A function that is no coroutine function runs in a thread of the worker."""

    @broker.task
    def double(number: int) -> int:
        return 2 * number

    assert await (await double.kiq(4)) == 8


async def test_the_result_tells_how_it_went(broker: Broker, worker: None) -> None:
    """A result says when the call was published, started and finished, how often it was tried, and by whom."""

    @broker.task(labels={"team": "growth"})
    async def greet(name: str) -> str:
        return f"Hello, {name}"

    result = await (await greet.kiq("Ada")).result(timeout=5)
    assert (result.status, result.value, result.error, result.attempts) == (Status.SUCCEEDED, "Hello, Ada", None, 1)
    assert result.enqueued_at is not None
    assert result.started_at is not None
    assert result.finished_at is not None
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.worker
    assert result.labels == {"team": "growth"}


async def test_a_failure_is_raised_where_it_is_awaited(broker: Broker, worker: None) -> None:
    """The task's own exception is raised by the handle, with the worker's traceback as a note."""

    @broker.task(retry=None)
    async def divide(a: int, b: int) -> float:
        return a / b

    handle = await divide.kiq(1, 0)
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        await handle
    assert "in divide" in caught.value.__notes__[0]
    result = await handle.result()
    assert result.status is Status.FAILED
    assert isinstance(result.error, ZeroDivisionError)


async def test_status_follows_the_call(broker: Broker) -> None:
    """A call is queued until a worker takes it, and then succeeds; an id that nobody published is unknown."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.kiq()
    assert await handle.status() is Status.QUEUED
    async with working(broker, burst=True):
        await handle
    assert await handle.status() is Status.SUCCEEDED
    assert await nothing.handle("nobody-published-this").status() is Status.UNKNOWN
