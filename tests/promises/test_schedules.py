"""Ticks: each runs once, whoever is killed and whatever is away. Five schedulers, one of which dies again and again."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from asyncq import Broker, broker_from_url
from tests.promises.ticks import Auditor, Crew, ms
from tests.servers import StartRedis
from tests.waiting import wait_until

MINUTE_MS = 60_000
REAL_SECONDS = float(os.environ.get("ASYNCQ_TICKING_SECONDS", "5"))
"""Of the audit in real time: three minutes are 180."""

MONTH_SECONDS = 10.0
"""Real seconds in which a month passes."""


@asynccontextmanager
async def audited(broker: Broker) -> AsyncIterator[Auditor]:
    auditor = Auditor(broker)
    running = asyncio.create_task(auditor.run())
    try:
        yield auditor
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def where(kind: str, tmp_path: Path, own_redis: StartRedis) -> tuple[str, Callable[[], None]]:
    """Return the URL of a broker of this kind, and what restarts its server."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db", lambda: None
    server = own_redis(appendonly=True)

    def restart() -> None:
        server.stop()
        server.start()

    return server.url, restart


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_a_month_of_minutes(kind: str, tmp_path: Path, own_redis: StartRedis, namespace: str) -> None:
    """A month of minutes ticks each once while schedulers are killed and the server is restarted; clocks go forward."""
    url, restart = where(kind, tmp_path, own_redis)
    first_ms, last_ms = ms(2025, 3, 1), ms(2025, 4, 1)
    schedule = (
        "Cron('* * * * *', tz='Europe/Prague', catch_up='all', grace=86400 * 31, "
        "start=datetime.fromisoformat('2025-03-01T00:00Z'), end=datetime.fromisoformat('2025-04-01T00:00Z'))"
    )
    speed = (last_ms - first_ms) / (MONTH_SECONDS * 1000)
    crew = Crew(tmp_path, url, namespace, schedule, str(time.time() * 1000 + 1000), str(speed), str(first_ms))
    async with broker_from_url(url, namespace=namespace) as broker, audited(broker) as auditor:
        async with crew.at_work(pause=0.5):
            await wait_until(lambda: len(auditor.runs) > 10_000, "a week has passed", timeout=60)
            restart()

            async def is_over() -> bool:
                found = await auditor.schedule()
                return found is not None and found.next_at is None

            await wait_until(is_over, "the month is over", timeout=90)
        await wait_until(lambda: len(auditor.runs) > (last_ms - first_ms) // MINUTE_MS, "all have run", timeout=20)

    assert sorted(auditor.runs) == list(range(first_ms, last_ms + 1, MINUTE_MS))
    assert set(auditor.runs.values()) == {1}
    assert crew.kills > 2


@pytest.mark.timeout(30 + 2 * REAL_SECONDS)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_real_seconds(kind: str, tmp_path: Path, own_redis: StartRedis, namespace: str) -> None:
    """Each second ticks once, by the server's clock, while schedulers are killed and the server is restarted."""
    url, restart = where(kind, tmp_path, own_redis)
    crew = Crew(tmp_path, url, namespace, "Every(1, catch_up='all')", "0", "0", "0")
    async with broker_from_url(url, namespace=namespace) as broker, audited(broker) as auditor:
        async with crew.at_work(pause=0.7):
            await wait_until(lambda: len(auditor.runs) >= 2, "it ticks", timeout=20)
            restart()
            await wait_until(
                lambda: len(auditor.runs) >= REAL_SECONDS, "so many ticks have run", timeout=2 * REAL_SECONDS + 20
            )
        runs = sorted(auditor.runs)

    assert runs == list(range(runs[0], runs[-1] + 1, 1000))
    assert set(auditor.runs.values()) == {1}
    assert crew.kills > 2
