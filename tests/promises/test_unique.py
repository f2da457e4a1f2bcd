"""One of a unique key, whoever publishes it, and whoever is killed."""

from contextlib import AsyncExitStack
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from asyncq import Broker, Unique
from tests.cli.programs import StartProgram
from tests.promises.publisher import go, publishing, started, stopped
from tests.waiting import wait_until

PUBLISHERS, EACH = 4, 25

APP = """
import asyncio
import sys
from pathlib import Path

from asyncq import Unique, broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="run_import", unique=Unique(by=("customer",)))
async def run_import(customer: int, file: str) -> str:
    with Path("runs").open("a") as runs:
        runs.write(file + "\\n")
    while not Path("may-end").exists():
        await asyncio.sleep(0.01)  # between two looks: only files tell other processes
    return file


async def publish(name: str, count: int) -> None:
    async with broker:
        print("Open.", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        handles = await asyncio.gather(*(run_import.kiq(42, f"{{name}}-{{n}}") for n in range(count)))
        print(*(f"{{handle.id}}:{{handle.is_new:d}}" for handle in handles), flush=True)


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], int(sys.argv[2])))
"""


pytestmark = pytest.mark.usefixtures("rabbitmq_server")


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> str:
    """Where the messages are."""
    match kind:
        case "rabbitmq":
            return request.getfixturevalue("rabbitmq_url")
        case "redis":
            return redis_url
        case _:
            return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def options(kind: str, redis_url: str) -> dict[str, Any]:
    """What else the broker is told."""
    return {"store": redis_url} if kind == "rabbitmq" else {}


@pytest.fixture
def folder(tmp_path: Path, url: str, namespace: str, options: dict[str, Any]) -> Path:
    """A folder with the application in it."""
    (tmp_path / "app.py").write_text(APP.format(url=url, namespace=namespace, options=options))
    return tmp_path


def runs_in(folder: Path) -> list[str]:
    """Return the files that were imported, run by run."""
    path = folder / "runs"
    return path.read_text().split() if path.exists() else []


async def test_a_hundred_at_once(folder: Path, asyncq: StartProgram) -> None:
    """Of 100 calls of one key that 4 processes publish at once one runs; the other 99 are handles to it."""
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(publishing(folder, f"{n}", f"{EACH}")) for n in range(PUBLISHERS)]
        for process in processes:
            go(process)
        outputs = [await process.communicate() for process in processes]
    pairs = [word.split(b":") for output, _ in outputs for word in output.split()]
    assert len(pairs) == PUBLISHERS * EACH
    assert [is_new for _, is_new in pairs].count(b"1") == 1
    assert len({id for id, _ in pairs}) == 1
    (folder / "may-end").touch()
    worker = await asyncq("worker", "app:broker", "--burst")
    assert await worker.exits() == 0
    assert len(runs_in(folder)) == 1


async def test_its_worker_is_killed(folder: Path, broker: Broker, asyncq: StartProgram) -> None:
    """A worker is killed in the middle: the call is run again with its key, is not its own duplicate, and frees it."""

    @broker.task(name="run_import", unique=Unique(by=("customer",)))
    async def run_import(customer: int, file: str) -> str: ...

    first = await run_import.kiq(42, "first")
    worker = await started(asyncq, "--lease", "1")
    await wait_until(lambda: len(runs_in(folder)) == 1, "the import runs")
    worker.signal(SIGKILL)
    assert not (await run_import.kiq(42, "second")).is_new
    other = await started(asyncq, "--lease", "1")
    await wait_until(lambda: len(runs_in(folder)) == 2, "the import runs again")
    assert (await run_import.kiq(42, "third")).id == first.id
    (folder / "may-end").touch()
    assert await first == "first"
    assert await broker.unique_keys() == []
    fourth = await run_import.kiq(42, "fourth")
    assert await fourth == "fourth"
    await stopped(other)
    assert runs_in(folder) == ["first", "first", "fourth"]
