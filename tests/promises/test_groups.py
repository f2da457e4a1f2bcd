"""One tenant's 50,000 do not hold up another's ten, also where all need the same slot, and while workers die."""

import asyncio
from pathlib import Path
from signal import SIGKILL

import pytest

from asyncq import Broker, ConcurrencyLimit, MemoryBroker, RabbitMQBroker, broker_from_url
from tests.cli.programs import programs
from tests.waiting import wait_until
from tests.working import working

MANY, FEW = 50_000, 10
TASK_TIMES = 20
"""Within which the last of the few has started."""

BUSY = 3
"""Starts that may be on their way when the few are published: each process runs one, and may be killed once."""

MOVED = 60
"""Seconds within which what was published behind 50,000 calls has been brought from RabbitMQ to its lane, and runs."""

BROUGHT = 10
"""Starts of others while a call is brought there that comes when nothing else is on its way."""

APP = """
import asyncio, os
from asyncq import ConcurrencyLimit, broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}{options})
lines = os.open("journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@broker.task(name="send", group=lambda tenant, **_: tenant)
async def send(tenant: str, number: int) -> None:
    os.write(lines, f"{{tenant}}\\n".encode())  # one write: whole, whoever else writes
    await asyncio.sleep(0.02)  # the work itself


@broker.task(name="export", group=lambda tenant, **_: tenant, concurrency=ConcurrencyLimit(1))
async def export(tenant: str, number: int) -> None:
    await send(tenant, number)
"""


def declare(broker: Broker, starts: list[str]) -> None:
    """Declare the tasks of the application, which note their starts here."""

    @broker.task(name="send", group=lambda tenant, **_: tenant)
    async def send(tenant: str, number: int) -> None:
        starts.append(tenant)

    @broker.task(name="export", group=lambda tenant, **_: tenant, concurrency=ConcurrencyLimit(1))
    async def export(tenant: str, number: int) -> None:
        starts.append(tenant)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("task", ["send", "export"])
async def test_in_memory(task: str) -> None:
    """While a worker is busy with 50,000 calls of one tenant, all ten of another start within 20 task times."""
    starts: list[str] = []
    async with MemoryBroker() as broker:
        declare(broker, starts)
        message = broker.tasks[task].message
        await broker.kiq_many(message("large", n) for n in range(MANY))
        async with working(broker, concurrency=1):
            await wait_until(lambda: len(starts) >= 100, "the large one is busy")
            handles = await broker.kiq_many(message("small", n) for n in range(FEW))
            before = len(starts)
            await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    assert position_of_last(starts) - before <= TASK_TIMES + BUSY


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> str:
    """Where brokers of several processes keep their messages."""
    return f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else redis_url


@pytest.mark.timeout(180)
@pytest.mark.parametrize("task", ["send", "export"])
async def test_over_processes(tmp_path: Path, url: str, namespace: str, task: str) -> None:
    """The same with two worker processes on a server or a file, of which one is killed."""
    (tmp_path / "shop.py").write_text(APP.format(url=url, namespace=namespace, options=""))
    journal = tmp_path / "journal"

    def starts() -> list[str]:
        return journal.read_text().split() if journal.exists() else []

    async with broker_from_url(url, namespace=namespace) as broker, programs(tmp_path) as start:
        declare(broker, [])
        message = broker.tasks[task].message
        await broker.kiq_many(message("large", n) for n in range(MANY))
        workers = [await start("worker", "shop:broker", "--lease", "1", "--concurrency", "1") for _ in range(2)]
        for worker in workers:
            await worker.says("Ready.", timeout=20)
        await wait_until(lambda: len(starts()) >= 20, "the large one is busy")
        handles = await broker.kiq_many(message("small", n) for n in range(FEW))
        before = len(starts())
        workers[0].signal(SIGKILL)
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    assert position_of_last(starts()) - before <= TASK_TIMES + BUSY


@pytest.mark.timeout(300)
@pytest.mark.parametrize("task", ["send", "export"])
async def test_on_rabbitmq(tmp_path: Path, rabbitmq_url: str, redis_url: str, namespace: str, task: str) -> None:
    """On RabbitMQ with a store ten behind 50,000 start within a minute; once all is in its lanes, within 20 others."""
    (tmp_path / "shop.py").write_text(
        APP.format(url=rabbitmq_url, namespace=namespace, options=f", store={redis_url!r}")
    )
    journal = tmp_path / "journal"

    def starts() -> list[str]:
        return journal.read_text().split() if journal.exists() else []

    async with (
        RabbitMQBroker(rabbitmq_url, store=redis_url, namespace=namespace) as broker,
        programs(tmp_path) as start,
    ):
        declare(broker, [])
        message = broker.tasks[task].message
        await broker.kiq_many(message("large", n) for n in range(MANY))
        behind = await broker.kiq_many(message("behind", n) for n in range(FEW))
        workers = [await start("worker", "shop:broker", "--lease", "1", "--concurrency", "1") for _ in range(2)]
        for worker in workers:
            await worker.says("Ready.", timeout=20)
        await asyncio.gather(*(handle.result(timeout=MOVED) for handle in behind))

        async def are_in_lanes() -> bool:
            (counts,) = await broker.queue_counts()
            return counts.ready == 0

        await wait_until(are_in_lanes, "all are in their lanes", timeout=MOVED)
        handles = await broker.kiq_many(message("small", n) for n in range(FEW))
        before = len(starts())
        workers[0].signal(SIGKILL)
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    assert position_of_last(starts()) - before <= TASK_TIMES + BUSY + BROUGHT


def position_of_last(starts: list[str]) -> int:
    """Return how many had started when the last of the small tenant did, itself included."""
    assert starts.count("small") >= FEW
    return len(starts) - starts[::-1].index("small")
