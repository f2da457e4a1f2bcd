"""`asyncq worker` that replaces its processes after so many tasks, or above so much memory; what else ends one."""

import asyncio
from collections import Counter
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from asyncq import Broker, Status, TaskTimeout
from tests.cli.programs import StartProgram
from tests.cli.shop import ON_BOTH, meet, runs_in, task
from tests.cli.test_processes import is_alive
from tests.waiting import wait_until

LEASE = ("--lease", "600")


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_by_count(asyncq: StartProgram, shop: Broker, processes: str) -> None:
    """Each process asks to be replaced after so many tasks, and no call is lost or waits for it."""
    options = ("--processes", processes, "--max-tasks-per-child", "10", "--concurrency", "2", *LEASE)
    program = await asyncq("worker", "shop:broker", "plant", *options)
    await program.says("Ready.", times=int(processes))

    pids: Counter[int] = Counter()
    async with asyncio.timeout(20):
        while len(pids) < int(processes) + 3:
            result = await (await task(shop, "pid").kiq()).result()
            assert result.attempts == 1
            pids[result.value or 0] += 1

    await program.says("10 tasks have run (--max-tasks-per-child 10)", times=3)
    await program.says("takes the place of", times=3)
    last = list(pids)[-1]
    await wait_until(lambda: sum(map(is_alive, pids)) <= int(processes) + 1, "those that were replaced are gone")
    program.signal_all(SIGTERM)
    assert await program.exits() == 0
    assert not is_alive(last)
    assert "failed to start" not in program.output


async def test_by_memory(asyncq: StartProgram, shop: Broker) -> None:
    """A process that has grown too large is replaced."""
    program = await asyncq("worker", "shop:broker", "plant", "--max-memory-per-child", "200", *LEASE)
    await program.says("Ready.")

    first = await (await task(shop, "grow").kiq(1))
    assert await (await task(shop, "grow").kiq(200)) == first
    await program.says("takes the place of")
    await wait_until(lambda: not is_alive(first), "the large process is gone")

    assert await (await task(shop, "pid").kiq()) != first
    assert "MB are in use (--max-memory-per-child 200)" in program.output


async def test_long_task_ends_in_its_process(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """What runs in a process that is replaced has all the time it needs; an order to stop limits it again."""
    options = ("--max-tasks-per-child", "1", "--shutdown-timeout", "0.2", *LEASE)
    program = await asyncq("worker", "shop:broker", "plant", *options)
    handle = await meet(shop, folder)
    await (await task(shop, "pid").kiq())
    await program.says("takes the place of")
    await program.says("Waiting for 1 running tasks")
    for _ in range(3):
        await (await task(shop, "pid").kiq())
    (folder / "a.goes-on").touch()
    assert await handle == runs_in(folder)[0]

    stopped = await meet(shop, folder, "b")
    await (await task(shop, "pid").kiq())
    await program.says("Waiting for 1 running tasks", times=2)
    program.signal_all(SIGINT)
    assert await program.exits() == 0
    assert await stopped.status() is Status.QUEUED


async def test_a_successor_that_cannot_start(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """While no successor can start, the old process goes on; when one can again, it is replaced."""
    program = await asyncq("worker", "shop:broker", "plant", "--max-tasks-per-child", "1", *LEASE)
    await program.says("Ready.")
    source = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text("1 / 0\n")
    first = await (await task(shop, "pid").kiq())
    await program.says("failed to start; it goes on")

    assert await (await task(shop, "pid").kiq()) == first
    (folder / "shop.py").write_text(source)
    await program.says("takes the place of")
    await wait_until(lambda: not is_alive(first), "the old process is gone")
    assert await (await task(shop, "pid").kiq()) != first


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_deaf(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """When threads that were given up hold all slots for --max-block seconds, the process says where, and ends.

    It hands back what waits for a slot there, which is not to blame.
    """
    options = ("--queue", "default", "--concurrency", "2", "--max-block", "0.5", *LEASE)
    program = await asyncq("worker", "shop:broker", "plant", *options)
    relying = await task(shop, "rely").kiq()
    await wait_until((folder / "rely.runs").exists, "it waits for another task, and has lent its slot")
    handles = [await task(shop, "stick").options(retry=None).kiq() for _ in range(2)]
    for handle in handles:
        with pytest.raises(TaskTimeout):
            await handle

    assert await program.exits() == 70
    assert "All 2 slots have been held" in program.output
    assert all(f"stick {handle.id}:" in program.output for handle in handles)
    assert "time.sleep(600)" in program.output
    assert await relying.status() is Status.QUEUED


async def test_blocked_loop(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A blocked loop is in the log with its task, file, line and seconds; after --max-block the process ends."""
    program = await asyncq("worker", "shop:broker", "plant", "--max-block", "2", *LEASE)
    handle = await task(shop, "block").kiq(60.0)

    assert await program.exits() == 70
    line = next(n for n, text in enumerate((folder / "shop.py").read_text().splitlines(), 1) if "sleep(sec" in text)
    where = f"by task block {handle.id}, file {folder / 'shop.py'}, line {line}, in block"
    assert f"The loop has been blocked for 1.0 s {where}" in program.output
    assert f"The loop was blocked for 2 s (--max-block) {where}. Ending the process." in program.output
