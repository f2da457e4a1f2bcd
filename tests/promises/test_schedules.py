"""Ticks: each runs once, whoever is killed and whatever is away. Five schedulers, one of which dies again and again."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from asyncq import Broker, broker_from_url
from tests.promises.ticks import Auditor, Crew, ms
from tests.servers import StartRedis
from tests.waiting import wait_until

MINUTE_MS = 60_000
REAL_SECONDS = float(os.environ.get("ASYNCQ_TICKING_SECONDS", "3"))
"""Of the audit in real time: three minutes are 180."""

MONTH_SECONDS = 5.0
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


class Place(NamedTuple):
    """Where schedules are, and what restarts the server that has them."""

    url: str
    store: str
    restart: Callable[[], None]

    def broker(self, namespace: str) -> Broker:
        """Return a broker there."""
        return broker_from_url(self.url, store=self.store or None, namespace=namespace)


@pytest.fixture(params=["sqlite", "redis", "rabbitmq"])
def place(request: pytest.FixtureRequest, tmp_path: Path, own_redis: StartRedis, rabbitmq_url: str) -> Place:
    """Each broker; RabbitMQ with a store in Redis, which is what is restarted."""
    if request.param == "sqlite":
        return Place(f"sqlite:///{tmp_path}/queue.db", "", lambda: None)
    server = own_redis(appendonly=True)

    def restart() -> None:
        server.stop()
        server.start()

    if request.param == "redis":
        return Place(server.url, "", restart)
    return Place(rabbitmq_url, server.url, restart)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
async def test_a_month_of_minutes(place: Place, tmp_path: Path, namespace: str) -> None:
    """A month of minutes ticks each once while schedulers are killed and the server is restarted."""
    first_ms, last_ms = ms(2025, 3, 1), ms(2025, 4, 1)
    schedule = (
        "Every(60, catch_up='all', grace=86400 * 3650, "
        "start=datetime.fromisoformat('2025-03-01T00:00Z'), end=datetime.fromisoformat('2025-04-01T00:00Z'))"
    )
    speed = (last_ms - first_ms) / (MONTH_SECONDS * 1000)
    began = tmp_path / "began"
    crew = Crew(tmp_path, place.url, place.store, namespace, schedule, str(began), str(speed), str(first_ms - 1))
    async with place.broker(namespace) as broker, audited(broker) as auditor:
        async with crew.at_work(pause=0.5):

            async def is_declared() -> bool:
                return await auditor.schedule() is not None

            await wait_until(is_declared, "the schedule is known", timeout=20)
            began.with_suffix(".new").write_text(str(time.time() * 1000))
            began.with_suffix(".new").rename(began)
            await wait_until(lambda: len(auditor.runs) > 10_000, "a week has passed", timeout=60)
            place.restart()

            async def is_over() -> bool:
                found = await auditor.schedule()
                return found is not None and found.next_at is None

            await wait_until(is_over, "the month is over", timeout=90)
        await wait_until(lambda: len(auditor.runs) > (last_ms - first_ms) // MINUTE_MS, "all have run", timeout=20)

    assert sorted(auditor.runs) == list(range(first_ms, last_ms + 1, MINUTE_MS))
    assert set(auditor.runs.values()) == {1}
    assert crew.kills > 2


@pytest.mark.timeout(30 + 2 * REAL_SECONDS)
async def test_real_seconds(place: Place, tmp_path: Path, namespace: str) -> None:
    """Each second ticks once, by the server's clock, while schedulers are killed and the server is restarted."""
    crew = Crew(tmp_path, place.url, place.store, namespace, "Every(1, catch_up='all')", "0", "0", "0")
    async with place.broker(namespace) as broker, audited(broker) as auditor:
        async with crew.at_work(pause=0.5):
            await wait_until(lambda: len(auditor.runs) >= 2, "it ticks", timeout=20)
            place.restart()
            await wait_until(
                lambda: len(auditor.runs) >= REAL_SECONDS, "so many ticks have run", timeout=2 * REAL_SECONDS + 20
            )
        runs = sorted(auditor.runs)

    assert runs == list(range(runs[0], runs[-1] + 1, 1000))
    assert set(auditor.runs.values()) == {1}
    assert crew.kills > 2
