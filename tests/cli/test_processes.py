"""`asyncq worker --processes N`: children that come and go, and no task that is lost or waits for it."""

import os
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from asyncq import Broker, Status
from tests.cli.programs import Program, StartProgram
from tests.cli.shop import ON_BOTH, meet, runs_in, task
from tests.waiting import wait_until


async def start(asyncq: StartProgram, *options: str) -> Program:
    """Start two processes, each with one slot, and a lease so long that no test waits for its end."""
    arguments = ("--processes", "2", "--concurrency", "1", "--lease", "600", *options)
    program = await asyncq("worker", "shop:broker", *arguments)
    await program.says("Ready.", times=2)
    return program


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter while it is being reaped
        return False


async def test_both_work(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """Two processes run two tasks at once, and one banner speaks for them."""
    program = await start(asyncq)

    await meet(shop, folder, "a")
    await meet(shop, folder, "b")

    assert len({*runs_in(folder, "a"), *runs_in(folder, "b"), program.pid}) == 3
    assert program.output.count("concurrency  1 x 2 processes") == 1
    assert f"pid {program.pid}\n" in program.output


async def test_wrong_app(asyncq: StartProgram) -> None:
    """A wrong APP is told once, and ends everything with exit code 2."""
    program = await asyncq("worker", "shop:brokr", "--processes", "3")

    assert await program.exits() == 2
    assert program.output.count("'shop' has no attribute 'brokr'") == 1


async def test_module_that_raises(asyncq: StartProgram, folder: Path) -> None:
    """A module that raises while imported is told once, and ends everything with exit code 1."""
    (folder / "shop.py").write_text("1 / 0\n")
    program = await asyncq("worker", "shop:broker", "--processes", "3")

    assert await program.exits() == 1
    assert program.output.count("ZeroDivisionError") == 1


async def test_burst(asyncq: StartProgram, shop: Broker) -> None:
    """With --burst the supervisor ends with 0 when the queues are empty and all children have ended."""
    handles = await shop.kiq_many(task(shop, "add").message(each, each) for each in range(20))
    program = await asyncq("worker", "shop:broker", "--processes", "2", "--burst")

    assert await program.exits() == 0
    assert [await handle for handle in handles] == [2 * each for each in range(20)]


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_signal_when_idle(asyncq: StartProgram, number: Signals) -> None:
    """Idle processes are gone within a second of SIGTERM or Ctrl-C, which a terminal sends to all, with 0."""
    program = await start(asyncq)

    program.signal_all(number)

    assert await program.exits(timeout=1) == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_signal_lets_tasks_finish(asyncq: StartProgram, folder: Path, shop: Broker, number: Signals) -> None:
    """After a signal to all processes a running task finishes: the supervisor's order on top is no second signal."""
    program = await start(asyncq)
    running = await meet(shop, folder)

    program.signal_all(number)
    await program.says("Waiting up to 30 s for 1 running task")
    await program.says("Stopped.")  # the idle one
    (folder / "a.goes-on").touch()

    assert await running in runs_in(folder)
    assert await program.exits() == 0


async def test_second_signal(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A second signal hands running tasks back at once."""
    program = await start(asyncq)
    handle = await meet(shop, folder)

    program.signal(SIGTERM)
    await program.says("Waiting up to 30 s")
    program.signal(SIGTERM)

    assert await program.exits(timeout=1) == 0
    assert await handle.status() is Status.QUEUED


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_child_is_killed(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """What a killed child ran runs again at once on its sibling, and another child takes its place."""
    program = await start(asyncq)
    handle = await meet(shop, folder)
    [first] = runs_in(folder)

    os.kill(first, SIGKILL)

    await wait_until(lambda: len(runs_in(folder)) == 2, "the task runs again", timeout=2)
    await program.says("was killed by SIGKILL")
    await program.says("Ready.", times=3)
    (folder / "a.goes-on").touch()
    assert await handle == runs_in(folder)[1] != first


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_all_children_are_killed(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """When no sibling is left, the children that take their place run the tasks again."""
    await start(asyncq)
    handles = [await meet(shop, folder, name) for name in ("a", "b")]

    for name in ("a", "b"):
        os.kill(runs_in(folder, name)[0], SIGKILL)

    for name in ("a", "b"):
        (folder / f"{name}.goes-on").touch()
    assert {await handle for handle in handles} == {runs_in(folder, name)[1] for name in ("a", "b")}


async def test_sigterm_to_a_child(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A child that gets SIGTERM finishes its task, and another takes its place."""
    program = await start(asyncq)
    handle = await meet(shop, folder)
    [first] = runs_in(folder)

    os.kill(first, SIGTERM)
    await program.says("Waiting up to 30 s for 1 running task")
    (folder / "a.goes-on").touch()

    assert await handle == first
    await program.says("Ready.", times=3)


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_supervisor_is_killed(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """When the supervisor is killed, its children hand back what they run and are gone within a second."""
    program = await start(asyncq)
    handles = [await meet(shop, folder, name) for name in ("a", "b")]
    children = [*runs_in(folder, "a"), *runs_in(folder, "b")]

    program.signal(SIGKILL)

    await wait_until(lambda: not any(map(is_alive, children)), "the children are gone", timeout=1)
    assert [await handle.status() for handle in handles] == [Status.QUEUED, Status.QUEUED]


async def test_supervisor_of_a_blocked_child_is_killed(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A child whose event loop is blocked is gone within a second of its supervisor's death, too."""
    program = await start(asyncq)
    await meet(shop, folder)
    await task(shop, "block").kiq(60.0)
    await wait_until((folder / "block.runs").exists, "the task blocks the loop")
    children = [int(pid) for pid in Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()]
    assert len(children) == 2

    program.signal(SIGKILL)

    await wait_until(lambda: not any(map(is_alive, children)), "the children are gone", timeout=1)


async def test_sighup(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """SIGHUP replaces the children one by one, with the code that is on disk now, and running tasks finish."""
    program = await start(asyncq)
    handle = await meet(shop, folder)
    [first] = runs_in(folder)
    source = folder / "shop.py"
    source.write_text(source.read_text().replace("return a + b", "return 'new'"))

    program.signal(SIGHUP)
    await program.says("Waiting up to 30 s for 1 running task")
    (folder / "a.goes-on").touch()

    assert await handle == first
    await program.says("Ready.", times=4)
    await program.says("Stopped.", times=2)
    assert await (await task(shop, "add").kiq(1, 2)) == "new"


async def test_sighup_with_a_fault(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """When the code on disk is broken, SIGHUP changes nothing but the log."""
    program = await start(asyncq)
    source = folder / "shop.py"
    source.write_text(f"{source.read_text()}\n1 / 0\n")

    program.signal(SIGHUP)
    await program.says("the old ones go on")

    assert await (await task(shop, "add").kiq(1, 2)) == 3


async def test_server_away(asyncq: StartProgram, folder: Path) -> None:
    """With --fail-fast a server that is not there ends everything with exit code 1."""
    (folder / "shop.py").write_text("from asyncq import RedisBroker\nbroker = RedisBroker('redis://127.0.0.1:1/0')\n")
    program = await asyncq("worker", "shop:broker", "--processes", "2", "--fail-fast")

    assert await program.exits() == 1
