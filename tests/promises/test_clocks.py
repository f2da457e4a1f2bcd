"""Clocks of machines that differ by minutes: on Redis all times are told by the server's."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from asyncq import Status, broker_from_url
from tests.cli.programs import StartProgram
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


async def test_clocks_that_differ(
    publisher: Publisher,
    effects: Effects,
    asyncq: StartProgram,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    namespace: str,
) -> None:
    """With publishers and workers ten minutes ahead and behind, delays, expiries and leases are as they should be."""
    names = [f"long-{number}" for number in range(4)]
    long = [await publisher.wait.kiq(name, 4) for name in names]
    options = ("--lease", "1", "--concurrency", "4")
    ahead = await started(asyncq, *effects.variant("ahead", before=CLOCK.format(minutes=MINUTES)), *options)
    behind = await started(asyncq, *effects.variant("behind", before=CLOCK.format(minutes=-MINUTES)), *options)
    now, offset = datetime.now(UTC), time.time() - time.monotonic()
    for minutes in (MINUTES, -MINUTES):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: time.monotonic() + offset + 60 * minutes)
        monkeypatch.setattr(time, "time_ns", lambda: round(1e9 * time.time()))
        async with broker_from_url(url, namespace=namespace) as broker:
            await check_times(Publisher(broker), f"by-{minutes}", now)
    assert set(await results_of(long)) == {ahead.pid}
    assert effects.count_of(*names) == [1] * 4, "nobody was taken for dead"
    await stopped(ahead, behind)


async def check_times(publisher: Publisher, name: str, now: datetime) -> None:
    """Let calls be delayed, expire, and start before they expire; all that is told is told by the server's clock."""
    begin = asyncio.get_running_loop().time()
    delayed = await publisher.wait.options(delay=1).kiq(f"{name}-delayed", 0)
    late = await publisher.wait.options(expires=1, queue="nobody-consumes").kiq(f"{name}-late", 0)
    in_time = await publisher.wait.options(expires=60).kiq(f"{name}-in-time", 0)
    result = await in_time.result(timeout=5)
    assert result.status is Status.SUCCEEDED
    assert result.started_at is not None
    assert abs(result.started_at - now) < timedelta(minutes=1)
    for handle, status in ((delayed, Status.SUCCEEDED), (late, Status.EXPIRED)):
        assert (await handle.result(timeout=5)).status is status
        assert 0.9 < asyncio.get_running_loop().time() - begin < 3
