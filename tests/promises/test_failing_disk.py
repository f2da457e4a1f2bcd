"""A disk that turns read-only under a file and its workers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from asyncq import PublishRefused, broker_from_url
from tests.cli.programs import StartProgram
from tests.disks import FailingDisk
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped


@pytest.fixture
def kind() -> str:
    """SQLite alone: it is its disk."""
    return "sqlite"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    """A file system of its own."""
    with FailingDisk(tmp_path / "disk", 16 << 20) as disk:
        yield disk


@pytest.fixture
def url(disk: FailingDisk) -> str:
    """A file there."""
    return f"sqlite:///{disk.folder}/queue.db"


async def test_a_disk_that_turns_read_only(
    disk: FailingDisk, effects: Effects, asyncq: StartProgram, url: str, namespace: str
) -> None:
    """Publishing raises and tasks go on; when the disk is mended and all start anew, what was accepted runs."""
    async with broker_from_url(url, namespace=namespace, command_timeout=1) as broker:
        publisher = Publisher(broker)
        handles = [await publisher.finish.kiq("running"), await publisher.wait.options(delay=2).kiq("delayed", 0)]
        worker = await started(asyncq, "--lease", "1")
        await effects.wait_for("running")
        disk.fail()
        with pytest.raises(PublishRefused, match="Is the disk read-only"):
            await publisher.work.kiq(1)
        effects.let_go_on("running")
        await effects.wait_for("running-ended")
        await worker.says("Cannot settle 1 finished tasks yet")
        await worker.says("Cannot renew the lease")
        worker.signal(SIGKILL)
        await worker.exits()
    disk.mend()
    async with broker_from_url(url, namespace=namespace) as broker:
        publisher = Publisher(broker)
        other = await started(asyncq, "--lease", "1")
        async with asyncio.timeout(10):
            assert await results_of([broker.handle(handle.id) for handle in handles]) == [other.pid] * 2
        assert await (await publisher.work.kiq(2)) == 4
        assert effects.names().count("1") == 0
        await stopped(other)
