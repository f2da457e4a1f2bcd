"""What happens when a task fails."""

import asyncio

import pytest

from asyncq import Broker, FailedCall, Reject, Retry, RetryPolicy, Snooze, Status, TaskTimeout
from tests.waiting import wait_until

SOON = RetryPolicy(max_attempts=3, delay=0.01)


async def test_a_failed_attempt_is_followed_by_another(broker: Broker, worker: None) -> None:
    """Retries are on by default; the result tells how many attempts it took."""
    attempts = 0

    @broker.task(retry=SOON)
    async def flaky() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionError("not yet")
        return "at last"

    result = await (await flaky.kiq()).result(timeout=5)
    assert (result.value, result.attempts) == ("at last", 3)


async def test_when_attempts_run_out(broker: Broker, worker: None) -> None:
    """After the last attempt the waiter gets the error, and the message is among the dead letters."""

    @broker.task(retry=SOON)
    async def hopeless() -> None:
        raise ValueError("never")

    handle = await hopeless.kiq()
    with pytest.raises(ValueError, match="never"):
        await handle
    letter = await broker.dead.get(handle.id)
    assert letter is not None
    assert letter.reason == "attempt 3 of 3 failed"
    assert (letter.error_type, letter.error_message, letter.attempts) == ("builtins:ValueError", "never", 3)


async def test_dead_letters_run_again(broker: Broker, worker: None) -> None:
    """A call that failed for good is put back with all its attempts; who awaits it gets the new end."""
    is_mended = False

    @broker.task(retry=None)
    async def report(month: str) -> str:
        if not is_mended:
            raise ValueError(f"no template for {month}")
        return f"report of {month}"

    handle = await report.kiq("May")
    assert (await handle.result()).status is Status.FAILED
    is_mended = True
    retried = await broker.dead.retry(error="no template")
    assert retried.ids == [handle.id]
    assert await report.handle(handle.id) == "report of May"
    assert await broker.dead.list() == []


async def test_the_task_decides(broker: Broker, worker: None) -> None:
    """A task may ask to be run again, to be run later without using an attempt, or give up."""
    attempts: list[int] = []

    @broker.task(retry=SOON)
    async def moody(mood: str) -> str:
        attempts.append(1)
        if mood == "snooze" and len(attempts) < 6:
            raise Snooze(0.01)
        if mood == "retry" and len(attempts) < 2:
            raise Retry(delay=0.01)
        if mood == "reject":
            raise Reject("not for me")
        return mood

    snoozed = await (await moody.kiq("snooze")).result(timeout=5)
    assert (snoozed.status, snoozed.attempts, len(attempts)) == (Status.SUCCEEDED, 1, 6)
    attempts.clear()
    retried = await (await moody.kiq("retry")).result(timeout=5)
    assert (retried.status, retried.attempts) == (Status.SUCCEEDED, 2)
    rejected = await (await moody.kiq("reject")).result(timeout=5)
    assert (rejected.status, rejected.attempts) == (Status.FAILED, 1)
    assert isinstance(rejected.error, Reject)


async def test_some_errors_are_final(broker: Broker, worker: None) -> None:
    """A policy names the exceptions to try again after, and those never to, also inside an exception group."""
    attempts = 0

    @broker.task(retry=RetryPolicy(max_attempts=5, delay=0.01, on=(OSError,), never=(FileNotFoundError,)))
    async def read(kind: str) -> None:
        nonlocal attempts
        attempts += 1
        if kind == "group":
            raise ExceptionGroup("several", [OSError("busy"), FileNotFoundError("gone")])
        raise ValueError("no OSError")

    assert (await (await read.kiq("group")).result(timeout=5)).attempts == 1
    assert (await (await read.kiq("value")).result(timeout=5)).attempts == 1
    assert attempts == 2


async def test_a_time_limit(broker: Broker, worker: None) -> None:
    """An attempt that runs past its limit is cancelled, may clean up, and counts as failed."""
    cleaned_up = asyncio.Event()

    @broker.task(timeout=0.05, retry=None)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    with pytest.raises(TaskTimeout, match=r"longer than 0\.05 s"):
        await (await slow.kiq())
    assert cleaned_up.is_set()


async def test_whatever_a_task_raises(broker: Broker, worker: None) -> None:
    """Nothing that a task raises ends the worker: it is a failure of that task alone."""

    @broker.task(retry=None)
    async def rude(kind: str) -> None:
        if kind == "exit":
            raise SystemExit(3)
        if kind == "interrupt":
            raise KeyboardInterrupt
        raise asyncio.CancelledError

    @broker.task
    async def polite() -> str:
        return "still here"

    for kind in ("exit", "interrupt", "cancelled"):
        assert (await (await rude.kiq(kind)).result(timeout=5)).status is Status.FAILED
    assert await (await polite.kiq()) == "still here"


async def test_the_history_of_attempts(broker: Broker, worker: None) -> None:
    """A result tells of each attempt before the last: what it raised, when, and where."""
    attempts = 0

    @broker.task(retry=SOON)
    async def flaky() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionError(f"attempt {attempts}")
        return "at last"

    result = await (await flaky.kiq()).result(timeout=5)
    assert [(past.number, past.error_type, past.error_message) for past in result.history] == [
        (1, "builtins:ConnectionError", "attempt 1"),
        (2, "builtins:ConnectionError", "attempt 2"),
    ]
    first, second = result.history
    assert first.started_at
    assert first.finished_at
    assert second.started_at
    assert result.finished_at
    assert first.started_at <= first.finished_at <= second.started_at <= result.finished_at
    assert first.worker == result.worker


async def test_when_all_has_failed(broker: Broker, worker: None) -> None:
    """A task named as `on_failure` is called once, when no attempt is left, and told what has failed and why."""
    told: list[FailedCall] = []
    has_told = asyncio.Event()

    @broker.task
    async def report(call: FailedCall) -> None:
        told.append(call)
        has_told.set()

    @broker.task(retry=SOON, on_failure=report, labels={"team": "growth"})
    async def hopeless(number: int, name: str) -> None:
        raise ValueError("never")

    handle = await hopeless.kiq(1, name="x")
    await has_told.wait()
    [call] = told
    assert (call.id, call.task, call.args, call.kwargs) == (handle.id, hopeless.name, [1], {"name": "x"})
    assert (call.error_type, call.error_message, call.attempts) == ("builtins:ValueError", "never", 3)
    assert (call.labels, call.reason) == ({"team": "growth"}, "attempt 3 of 3 failed")
    assert "raise ValueError" in call.traceback
    assert call.enqueued_at
    assert call.failed_at
    assert call.enqueued_at <= call.failed_at


async def test_what_is_no_failure_for_good(broker: Broker, worker: None) -> None:
    """`on_failure` is not called for a success after retries, nor for what expires or is cancelled."""
    told: list[str] = []

    @broker.task
    async def report(call: FailedCall) -> None:
        told.append(call.task)

    attempts = 0

    @broker.task(retry=SOON, on_failure=report)
    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError

    @broker.task(on_failure=report, retry=None)
    async def fails() -> None:
        raise OSError

    await (await flaky.kiq())
    cancelled = await flaky.options(delay=60).kiq()
    assert await cancelled.cancel()
    assert (await (await flaky.options(expires=0).kiq()).result(timeout=5)).status is Status.EXPIRED
    await (await fails.kiq()).result(timeout=5)
    await wait_until(lambda: bool(told), "the failure is told")
    assert told == [fails.name]
