"""Clocks of machines that differ by minutes: on Redis all times are told by the server's."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from asyncq import Status, broker_from_url
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped

CLOCK = """
import time

of_the_machine, of_the_machine_ns = time.time, time.time_ns
time.time = lambda: of_the_machine() + ({minutes} * 60)
time.time_ns = lambda: of_the_machine_ns() + ({minutes} * 60_000_000_000)
"""
MINUTES = 10


@pytest.fixture
def kind() -> str:
    """Redis alone: what shares a SQLite file shares a clock."""
    return "redis"


@pytest.mark.parametrize("ahead", [MINUTES, -MINUTES])
async def test_clocks_that_differ(
    effects: Effects, asyncq: StartProgram, monkeypatch: pytest.MonkeyPatch, url: str, namespace: str, ahead: int
) -> None:
    """With a publisher ten minutes behind or ahead and workers on either side, delays, expiries and leases hold."""
    now, offset = datetime.now(UTC), time.time() - time.monotonic() - ahead * 60
    monkeypatch.setattr(time, "time", lambda: time.monotonic() + offset)
    monkeypatch.setattr(time, "time_ns", lambda: round(1e9 * time.time()))
    async with broker_from_url(url, namespace=namespace) as broker:
        await check(Publisher(broker), effects, asyncq, ahead, now)
        await assert_drained(Publisher(broker), url)


async def check(publisher: Publisher, effects: Effects, asyncq: StartProgram, ahead: int, now: datetime) -> None:
    """Let calls expire, wait and run for several leases, with one worker ahead by so many minutes, and one behind."""
    loop = asyncio.get_running_loop()
    late = await publisher.wait.options(expires=1).kiq("late", 0)
    begin = loop.time()
    assert (await late.result(timeout=5)).status is Status.EXPIRED
    assert 0.9 < loop.time() - begin < 2.5

    long = [await publisher.wait.kiq(f"long-{number}", 3) for number in range(4)]
    options = ("--lease", "1", "--concurrency", "4")
    one = await started(asyncq, *effects.variant("ahead", before=CLOCK.format(minutes=ahead)), *options)
    other = await started(asyncq, *effects.variant("behind", before=CLOCK.format(minutes=-ahead)), *options)
    delayed = await publisher.wait.options(delay=1).kiq("delayed", 0)
    in_time = await publisher.wait.options(expires=60).kiq("in-time", 0)
    begin = loop.time()
    assert (await in_time.result(timeout=5)).status is Status.SUCCEEDED
    assert await delayed in (one.pid, other.pid)
    assert 0.9 < loop.time() - begin < 2.5
    assert set(await results_of(long)) == {one.pid}
    assert effects.count_of(*(f"long-{number}" for number in range(4))) == [1] * 4, "nobody was taken for dead"
    result = await delayed.result()
    assert result.started_at is not None
    assert abs(result.started_at - now) < timedelta(minutes=1), "what is told is the server's time"
    await stopped(one, other)
