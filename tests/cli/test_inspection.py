"""`asyncq queues` and `asyncq workers`."""

import json
import socket
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from asyncq import Broker
from tests.cli.programs import StartProgram
from tests.cli.shop import ON_BOTH, WITH_MEMORY, meet, task, write_app
from tests.servers import StartRedis
from tests.waiting import wait_until


@pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)
async def test_queues(asyncq: StartProgram, shop: Broker) -> None:
    """Each queue has a line: what is ready, for how long, scheduled, running, dead, and who consumes it."""
    await task(shop, "add").kiq(1, 2)
    await task(shop, "add").options(delay=60).kiq(1, 2)
    await task(shop, "mail.send", queue="mail").kiq()

    program = await asyncq("queues", "shop:broker")
    assert await program.exits() == 0

    header, *lines = program.output.splitlines()
    assert header.split() == ["QUEUE", "READY", "OLDEST", "WAITING", "SCHEDULED", "RUNNING", "DEAD", "WORKERS"]
    (default, mail) = [line.split() for line in lines]
    assert (default[:2], default[3:]) == (["default", "1"], ["0", "1", "0", "0", "0"])
    assert (mail[:2], mail[3:]) == (["mail", "1"], ["0", "0", "0", "0", "0"])


@pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)
async def test_queues_for_programs(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """With --json each queue is one object a line; what runs, and who consumes it, is counted."""
    worker = await asyncq("worker", "shop:broker", "--queue", "default")
    await worker.says("Ready.")
    await meet(shop, folder)

    program = await asyncq("queues", "shop:broker", "--json")
    assert await program.exits() == 0

    default, mail = (json.loads(line) for line in program.output.splitlines())
    expected = {"ready": 0, "waiting": 0, "scheduled": 0, "running": 1, "dead": 0, "oldest": None, "workers": 1}
    assert default == {"queue": "default", **expected}
    assert (mail["queue"], mail["workers"]) == ("mail", 0)


@pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)
async def test_workers(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """Each worker has a line: name, host, process, time since its start, slots, last fetch, lease and queues."""
    worker = await asyncq("worker", "shop:broker", "--concurrency", "7", "--lease", "1")
    await meet(shop, folder)

    async def has_told() -> bool:
        return [info.running for info in await shop.workers()] == [1]

    await wait_until(has_told, "the worker has told that it runs one")
    program = await asyncq("workers", "shop:broker")
    assert await program.exits() == 0

    header, line = program.output.splitlines()
    assert header.split() == ["NAME", "HOST", "PID", "UP", "RUNNING", "DEAD", "LAST", "FETCH", "LEASE", "QUEUES"]
    assert line.split()[1:3] == [socket.gethostname(), str(worker.pid)]
    assert " 1/7 " in line
    assert line.endswith("default, mail")


async def test_no_workers(asyncq: StartProgram) -> None:
    """Where nobody works, that is said."""
    program = await asyncq("workers", "shop:broker")

    assert await program.exits() == 0
    assert program.output == "No workers.\n"


@pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)
async def test_check(asyncq: StartProgram, shop: Broker) -> None:
    """A check by host or by name succeeds while that worker fetches, and fails for one that is not there."""
    worker = await asyncq("worker", "shop:broker")
    await worker.says("Ready.")

    async def has_told() -> bool:
        return any(info.pid for info in await shop.workers())

    await wait_until(has_told, "the worker has told of itself")
    (info,) = await shop.workers()
    for names in ([], [socket.gethostname()], [info.name], [info.name.rpartition(".")[0]]):
        program = await asyncq("workers", "shop:broker", *names, "--check")
        assert await program.exits() == 0, program.output
    absent = await asyncq("workers", "shop:broker", "elsewhere", "--check")
    assert await absent.exits() == 1
    assert absent.output.endswith("Error: No worker is alive of the name or on the host elsewhere.\n")


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_check_of_a_frozen_worker(asyncq: StartProgram, shop: Broker) -> None:
    """A worker that is frozen fails the check once its last fetch is too long ago, though its lease still holds."""
    worker = await asyncq("worker", "shop:broker", "--lease", "60")
    await worker.says("Ready.")

    async def has_told() -> bool:
        return any(info.pid for info in await shop.workers())

    await wait_until(has_told, "the worker has told of itself")
    worker.signal(SIGSTOP)

    async def is_silent() -> bool:
        return not (await shop.workers())[0].is_healthy(within=0.5)

    await wait_until(is_silent, "the worker has been silent for half a second")
    program = await asyncq("workers", "shop:broker", "--check", "--within", "0.5")
    assert await program.exits() == 1
    assert "Error: Not answered within" in program.output
    worker.signal(SIGCONT)


async def test_a_server_that_is_away(asyncq: StartProgram, folder: Path, namespace: str, own_redis: StartRedis) -> None:
    """Without its server each command ends with 1 and one sentence about where it looked."""
    server = own_redis()
    write_app(folder, server.url, namespace)
    server.kill()
    for command in (["queues"], ["workers"], ["dead", "list"], ["check"]):
        program = await asyncq(*command, "shop:broker")
        assert await program.exits() == 1
        assert f"127.0.0.1:{server.port}" in program.output
        assert "Traceback" not in program.output


async def test_module_that_raises(asyncq: StartProgram, folder: Path) -> None:
    """An application that raises while it is imported ends the command with 1 and the user's traceback."""
    (folder / "shop.py").write_text("prices = {}\nprices['tea']\n")

    program = await asyncq("queues", "shop:broker")

    assert await program.exits() == 1
    assert f'File "{folder / "shop.py"}", line 2, in <module>' in program.output
    assert program.output.endswith("KeyError: 'tea'\nError: Importing 'shop' failed.\n")


@pytest.mark.parametrize("within", ["soon", "", "-1", "1y"])
async def test_wrong_time(asyncq: StartProgram, within: str) -> None:
    """A time that is none is refused with exit code 2 and examples of one."""
    program = await asyncq("workers", "shop:broker", "--check", f"--within={within}")

    assert await program.exits() == 2
    assert "is no span of time, such as 90, 90s, 15m, 2h or 3d." in program.output


FORGETFUL = """
from tests.forgetful import ForgetfulBroker

broker = ForgetfulBroker()
"""


async def test_without_a_memory(asyncq: StartProgram, folder: Path) -> None:
    """What a broker without a memory of calls cannot tell is `-`, and what to add is said."""
    (folder / "forgetful.py").write_text(FORGETFUL)

    program = await asyncq("queues", "forgetful:broker")
    assert await program.exits() == 0
    header, default, *why = sorted(program.output.splitlines(), key=lambda line: not line.startswith("QUEUE"))
    assert header.startswith("QUEUE")
    assert default.split() == ["default", "0", "-", "0", "-", "-", "0", "-"]
    assert len(why) == 1
    assert 'ForgetfulBroker(store="...")' in why[0]

    for arguments in (["--json"], ["--check"], []):
        program = await asyncq("workers", "forgetful:broker", *arguments)
        assert await program.exits() == 2
        assert 'workers(): this broker has no memory of calls. Give it one: ForgetfulBroker(store="...")' in (
            program.output
        )
