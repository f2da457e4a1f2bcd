"""Cancelled calls do not come back, whatever dies."""

import asyncio
from signal import SIGCONT, SIGKILL

import pytest

from asyncq import Status, TaskCancelled
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.freezing import freeze
from tests.promises.pair import Server
from tests.promises.publisher import Publisher, started, stopped
from tests.waiting import wait_until


async def test_a_running_call(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A call that another process runs is cancelled there within a second, cleans up, and never runs again."""
    handle = await publisher.cleaning.kiq("a")
    worker = await started(asyncq)
    await wait_until(lambda: effects.names() == ["a"], "the task runs")
    assert await handle.cancel()
    with pytest.raises(TaskCancelled):
        await handle
    await wait_until(lambda: effects.names() == ["a", "a-cleaned"], "the task has cleaned up", timeout=2)
    await worker.says("was cancelled")
    await stopped(worker)
    await assert_drained(publisher, url)


async def test_the_worker_is_killed(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A call whose worker is killed as it is cancelled does not run anywhere else."""
    handle = await publisher.hold.kiq("a")
    worker = await started(asyncq, "--lease", "1")
    await wait_until(lambda: effects.names() == ["a"], "the task runs")
    await freeze(worker, url)  # so it cannot have heard of it
    assert await handle.cancel()
    worker.signal(SIGKILL)
    other = await started(asyncq, "--lease", "1")
    after = await publisher.wait.kiq("b", 1.5)  # by then the lease is over, and what it held is taken over
    assert (await after.result(timeout=10)).status is Status.SUCCEEDED
    assert effects.names() == ["a", "b"]
    assert await handle.status() is Status.CANCELLED
    await stopped(other)
    await assert_drained(publisher, url)


async def test_a_frozen_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A worker that was frozen while its call was cancelled is told when it goes on; its end takes no effect."""
    handle = await publisher.cleaning.kiq("a")
    worker = await started(asyncq)
    await wait_until(lambda: effects.names() == ["a"], "the task runs")
    await freeze(worker, url)
    assert await handle.cancel()
    assert (await handle.result()).status is Status.CANCELLED
    worker.signal(SIGCONT)
    await wait_until(lambda: effects.names() == ["a", "a-cleaned"], "the task has cleaned up")
    assert await handle.status() is Status.CANCELLED


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
async def test_the_server_restarts(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Server
) -> None:
    """A cancel outlives the server; and a worker that could not be told during an outage is told after it."""
    handle = await publisher.cleaning.kiq("a")
    await started(asyncq)
    await wait_until(lambda: effects.names() == ["a"], "the task runs")
    scheduled = await publisher.wait.options(delay=2).kiq("never", 0)
    assert await scheduled.cancel()
    assert await handle.cancel()
    await asyncio.to_thread(server.restart)
    await wait_until(lambda: effects.names() == ["a", "a-cleaned"], "the task has cleaned up")
    after = await publisher.wait.options(delay=2.2).kiq("b", 0)
    assert (await after.result(timeout=10)).status is Status.SUCCEEDED
    assert effects.names() == ["a", "a-cleaned", "b"]
    assert await scheduled.status() is Status.CANCELLED
