"""A disk that is full for longer than a lease, under workers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncq import PublishRefused
from tests.cli.programs import StartProgram
from tests.disks import filled, small_disk
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.waiting import wait_until


@pytest.fixture
def kind() -> str:
    """SQLite alone: it is its disk."""
    return "sqlite"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with four megabytes of room."""
    with small_disk(tmp_path / "disk", 4 << 20) as folder:
        yield folder


@pytest.fixture
def url(disk: Path) -> str:
    """A file there."""
    return f"sqlite:///{disk}/queue.db"


async def test_a_full_disk(publisher: Publisher, effects: Effects, asyncq: StartProgram, disk: Path, url: str) -> None:
    """While the disk is full for three leases publishing is refused; then what ran settles, and nothing runs twice."""
    names = [f"task-{number}" for number in range(40)]
    handles = [await publisher.hold.kiq(name) for name in names]
    workers = [await started(asyncq, "--lease", "1", "--concurrency", "20") for _ in range(2)]
    await wait_until(lambda: effects.count() == 40, "all of them run")

    with filled(disk):
        with pytest.raises(PublishRefused, match="no room left"):
            await publisher.work.kiq(1)
        effects.let_go_on(*names[:20])
        await asyncio.sleep(3)  # the fault itself
    async with asyncio.timeout(10):
        values = await results_of(handles[:20])
        effects.let_go_on(*names[20:])
        values += await results_of(handles[20:])
        assert await (await publisher.work.kiq(1)) == 2

    runs = effects.runs()
    assert {name: runs[name] for name in names} == {name: [pid] for name, pid in zip(names, values, strict=True)}
    await stopped(*workers)
    await assert_drained(publisher, url)
