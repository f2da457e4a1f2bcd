"""Runs that have ended, and whose end the broker has not taken in."""

import asyncio
from signal import SIGCONT, SIGKILL

import pytest

from asyncq import RetryPolicy, Status
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.freezing import freeze
from tests.promises.outages import unanswering
from tests.promises.pair import Server
from tests.promises.publisher import Publisher, started, stopped
from tests.waiting import wait_until

LAST = RetryPolicy(max_attempts=1)
TWO = RetryPolicy(max_attempts=2, delay=0.2)


async def test_the_worker_is_killed(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Server | None, url: str
) -> None:
    """What ended while nobody could be told runs again when its worker is killed; a last failure is reported once."""
    done, failed = await publisher.finish.kiq("done"), await publisher.fail.options(retry=LAST).kiq("failed")
    worker = await started(asyncq, "--lease", "1")
    await effects.wait_for("done", "failed")
    with unanswering(server, url):
        effects.let_go_on("done", "failed")
        await effects.wait_for("done-ended", "failed-ended")
        worker.signal(SIGKILL)
        await worker.exits()
    other = await started(asyncq, "--lease", "1")

    result = await done.result(timeout=10)
    assert (result.value, result.attempts) == (other.pid, 1)
    result = await failed.result(timeout=10)
    assert (result.status, result.attempts) == (Status.FAILED, 1)
    await effects.wait_for("failed-reported")
    await stopped(other)
    assert effects.count_of("done-ended", "failed-ended", "failed-reported") == [2, 2, 1]


async def test_a_zombie(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A worker that was frozen past its lease keeps no result, no retry, no report and no lease once it goes on."""
    names = ("done", "retried", "failed")
    done = await publisher.finish.kiq("done")
    retried = await publisher.fail.options(retry=TWO).kiq("retried")
    failed = await publisher.fail.options(retry=LAST).kiq("failed")
    zombie = await started(asyncq, "--lease", "1")
    await effects.wait_for(*names)
    await freeze(zombie, url)
    other = await started(asyncq, "--lease", "1")
    await other.says("is dead: its lease ran out. 3 of its tasks run again.")
    effects.let_go_on(*names)
    assert (await done.result(timeout=10)).value == other.pid
    assert [(await handle.result(timeout=10)).attempts for handle in (retried, failed)] == [2, 1]
    await effects.wait_for("retried-reported", "failed-reported")

    zombie.signal(SIGCONT)  # its runs find that they may go on, and end at once

    await zombie.says("lost its lease")
    after = await publisher.wait.options(delay=1).kiq("after", 0)  # by then all that it could have done has happened
    assert (await after.result(timeout=10)).status is Status.SUCCEEDED
    assert effects.count_of("retried-reported", "failed-reported") == [1, 1]
    assert effects.runs_of("retried").count(other.pid) == 2, "its first attempt and its last"
    assert [(await handle.result(timeout=0)).worker.count(str(other.pid)) for handle in (done, retried, failed)] == [
        1
    ] * 3
    await stopped(zombie, other)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_delays_and_retries(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Server | None, url: str
) -> None:
    """What is delayed, or waits for a retry, runs in its time although the worker is killed and the server restarts."""
    loop = asyncio.get_running_loop()
    delayed = await publisher.wait.options(delay=3).kiq("delayed", 0)

    async def is_retrying() -> bool:
        return await retried.status() is Status.RETRYING

    published_at = loop.time()
    retried = await publisher.fail.options(retry=RetryPolicy(max_attempts=2, delay=3, jitter=False)).kiq("retried")
    effects.let_go_on("retried")
    worker = await started(asyncq, "--lease", "1")
    await effects.wait_for("retried-ended")
    await wait_until(is_retrying, "its failure is settled")
    failed_at = loop.time()
    worker.signal(SIGKILL)
    if server is not None:
        await asyncio.to_thread(server.restart)
    assert await delayed.status() is Status.SCHEDULED
    other = await started(asyncq, "--lease", "1")

    assert await delayed == other.pid
    assert 2.9 < loop.time() - published_at < 6
    assert (await retried.result(timeout=10)).attempts == 2
    assert 2.8 < loop.time() - failed_at < 6
    await effects.wait_for("retried-reported")
    await stopped(other)
    assert effects.count_of("delayed", "retried", "retried-reported") == [1, 2, 1]
