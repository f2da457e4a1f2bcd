"""`asyncq worker` with tasks in processes: those are there for the worker, and never without it."""

import os
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from asyncq import Broker, Status
from tests.cli.programs import StartProgram
from tests.cli.shop import ON_BOTH, meet, runs_in, task
from tests.cli.test_processes import is_alive
from tests.waiting import wait_until

LEASE = ("--lease", "600")


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_works(asyncq: StartProgram, folder: Path, shop: Broker, processes: str) -> None:
    """The process imports the application as the worker does, and what it prints and logs is seen at once."""
    program = await asyncq("worker", "shop:broker", "plant", "--processes", processes, "--log-format", "json", *LEASE)
    handle = await meet(shop, folder, where="spin")

    await program.says("a spins in plant")
    await program.says('"message": "a is logged"')
    (folder / "a.goes-on").touch()

    assert await handle == runs_in(folder)[0] != program.pid


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_worker_is_killed(asyncq: StartProgram, folder: Path, shop: Broker, processes: str) -> None:
    """When the worker is killed, or all are, the process that computes for it is gone within a second."""
    program = await asyncq("worker", "shop:broker", "plant", "--processes", processes, *LEASE)
    await meet(shop, folder, where="spin")
    [pid] = runs_in(folder)

    program.signal(SIGKILL)

    await wait_until(lambda: not is_alive(pid), "the process is gone", timeout=1 if processes == "1" else 2)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
async def test_signals(asyncq: StartProgram, folder: Path, shop: Broker, number: Signals) -> None:
    """Ctrl-C and SIGTERM, sent to the process too, let the call end in the time there is; then all are gone."""
    program = await asyncq("worker", "shop:broker", "plant", *LEASE)
    handle = await meet(shop, folder, where="spin")
    [pid] = runs_in(folder)

    program.signal_all(number)
    os.kill(pid, number)
    await program.says("Waiting up to")
    (folder / "a.goes-on").touch()

    assert await program.exits() == 0
    assert await handle == pid
    assert not is_alive(pid)


async def test_stop_at_once(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A second Ctrl-C ends the call and its process, and hands it back."""
    program = await asyncq("worker", "shop:broker", "plant", *LEASE)
    handle = await meet(shop, folder, where="spin")
    [pid] = runs_in(folder)

    program.signal(SIGINT)
    await program.says("Waiting up to")
    program.signal(SIGINT)

    await program.exits(timeout=5)
    assert not is_alive(pid)
    assert await handle.status() is Status.QUEUED


async def test_new_code(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """After SIGHUP to the supervisor calls run in new processes with the new code; the old ones are gone."""
    program = await asyncq("worker", "shop:broker", "plant", "--processes", "2", *LEASE)
    handle = await meet(shop, folder, where="spin")
    [pid] = runs_in(folder)
    (folder / "a.goes-on").touch()
    assert await handle == pid

    source = (folder / "plant.py").read_text()
    (folder / "plant.py").write_text(source.replace("spins in", "spins anew in"))
    program.signal(SIGHUP)
    await program.says("Ready.", times=4)
    await wait_until(lambda: not is_alive(pid), "the old process is gone")
    await meet(shop, folder, "b", where="spin")

    await program.says("b spins anew in plant")


async def test_code_that_only_the_process_cannot_import(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """Where a process cannot import the application any more, its calls fail and say so; the worker goes on."""
    program = await asyncq("worker", "shop:broker", "plant", *LEASE)
    await program.says("Ready.")
    (folder / "plant.py").write_text("1 / 0\n")

    handle = await task(shop, "spin").options(retry=None).kiq("a")
    error = (await handle.result(timeout=10)).error
    assert "did not start" in str(error)
    await program.says("ZeroDivisionError")


async def test_reload(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """With --reload, a change of the code ends the old processes when their calls have ended."""
    program = await asyncq("worker", "shop:broker", "plant", "--reload", *LEASE)
    handle = await meet(shop, folder, where="spin")
    [pid] = runs_in(folder)

    source = (folder / "plant.py").read_text()
    (folder / "plant.py").write_text(source.replace("spins in", "spins anew in"))
    await program.says("Waiting up to 30 s for 1 running task")
    (folder / "a.goes-on").touch()
    assert await handle == pid
    await program.says("Ready.", times=2)
    assert not is_alive(pid)

    await meet(shop, folder, "b", where="spin")
    await program.says("b spins anew in plant")
