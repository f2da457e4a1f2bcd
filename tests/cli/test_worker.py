"""`asyncq worker` as one process: start, work, signals, and every way not to start."""

import asyncio
import json
import time
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1, Signals

import pytest

from asyncq import Broker, Status, broker_from_url
from tests.cli.programs import StartProgram
from tests.cli.shop import ON_BOTH, meet, task, write_app
from tests.servers import RedisServer, StartRedis
from tests.waiting import wait_until


async def test_banner(asyncq: StartProgram, namespace: str) -> None:
    """At its start a worker says what it is, then that it is ready."""
    program = await asyncq("worker", "shop:broker", "--concurrency", "7", "--queue", "default", "--queue", "mail:3")

    await program.says("Ready.")

    assert program.output.startswith("asyncq 0.")
    assert f"pid {program.pid}\n" in program.output
    assert f"/queue.db, namespace {namespace}\n" in program.output
    for line in (
        "  app          shop:broker\n",
        "  queues       default, mail (3 at once)\n",
        "  tasks        6: add, block, fail, hang, mail.send, meet\n",
        "  concurrency  7 x 1 process\n",
        "  lease        15 s\n",
    ):
        assert line in program.output


async def test_default_queues(asyncq: StartProgram) -> None:
    """Without --queue a worker consumes "default" and every queue that a task names."""
    program = await asyncq("worker", "shop:broker")

    await program.says("  queues       default, mail\n")


async def test_queue_that_nobody_names(asyncq: StartProgram) -> None:
    """A queue that no task names is consumed with a warning, which tells near names."""
    program = await asyncq("worker", "shop:broker", "--queue", "mial")

    await program.says("No declared task or Queue names queue 'mial'. Near it: 'mail'.")
    await program.says("Ready.")


async def test_password_is_hidden(asyncq: StartProgram, folder: Path) -> None:
    """Neither the banner nor a message about the server shows the password."""
    url = "redis://me:hunter2@127.0.0.1:1/0"
    (folder / "shop.py").write_text(f"from asyncq import RedisBroker\nbroker = RedisBroker({url!r})\n")
    program = await asyncq("worker", "shop:broker", "--fail-fast")

    assert await program.exits() == 1

    assert "127.0.0.1:1/0" in program.output
    assert "hunter2" not in program.output


async def test_no_tasks(asyncq: StartProgram, folder: Path) -> None:
    """A worker whose application declares no task says so, and what may be the reason."""
    (folder / "empty.py").write_text("from asyncq import SQLiteBroker\nbroker = SQLiteBroker('queue.db')\n")
    program = await asyncq("worker", "empty:broker")

    await program.says("none. Is the module that declares them imported by the app, or named after it?")


async def test_json_logs(asyncq: StartProgram) -> None:
    """With --log-format json every line is one JSON object, the banner among them."""
    program = await asyncq("worker", "shop:broker", "--log-format", "json")
    await program.says("Ready.")
    program.signal(SIGTERM)

    assert await program.exits() == 0

    lines = [json.loads(line) for line in program.output.splitlines()]
    banner = next(line for line in lines if line["message"] == "Starting.")
    assert banner["tasks"] == ["add", "block", "fail", "hang", "mail.send", "meet"]
    assert banner["pid"] == program.pid
    assert lines[-1]["message"] == "Stopped."


async def test_json_logs_of_a_failure(asyncq: StartProgram, shop: Broker) -> None:
    """The line about a failed task carries its id, name, queue and attempt, and the exception."""
    program = await asyncq("worker", "shop:broker", "--log-format", "json")
    handle = await task(shop, "fail").kiq()
    await handle.result(timeout=10)
    program.signal(SIGTERM)
    assert await program.exits() == 0

    lines = [json.loads(line) for line in program.output.splitlines()]
    failure = next(line for line in lines if line.get("task_id") == handle.id)
    assert (failure["task"], failure["queue"], failure["attempt"]) == ("fail", "default", 1)
    assert failure["exception"].endswith("ValueError: no")


async def test_log_level(asyncq: StartProgram) -> None:
    """With --log-level warning, information is not logged."""
    program = await asyncq("worker", "shop:broker", "--log-level", "warning", "--burst")

    assert await program.exits() == 0
    assert "Stopped." not in program.output


async def test_works(asyncq: StartProgram, shop: Broker) -> None:
    """A worker runs what is published, from every queue, and the publisher gets the results."""
    await asyncq("worker", "shop:broker")

    assert await (await task(shop, "add").kiq(1, 2)) == 3
    assert await (await task(shop, "mail.send", queue="mail").kiq()) == "sent"


async def test_burst(asyncq: StartProgram, shop: Broker) -> None:
    """With --burst a worker ends with 0 once the queues are empty."""
    handles = await shop.kiq_many(task(shop, "add").message(each, each) for each in range(20))
    program = await asyncq("worker", "shop:broker", "--burst")

    assert await program.exits() == 0

    assert [await handle for handle in handles] == [2 * each for each in range(20)]


async def test_modules(asyncq: StartProgram, folder: Path) -> None:
    """Modules named after APP are imported, so that their tasks are known."""
    (folder / "more.py").write_text("from shop import broker\n@broker.task(name='more')\nasync def more(): ...\n")
    program = await asyncq("worker", "shop:broker", "more")

    await program.says("7: add, block, fail, hang, mail.send, meet, more")


async def test_app_dir(asyncq: StartProgram, folder: Path) -> None:
    """--app-dir comes first on sys.path, before the current folder."""
    (folder / "source").mkdir()
    (folder / "source" / "shop.py").write_text("from asyncq import SQLiteBroker\nbroker = SQLiteBroker('other.db')\n")
    program = await asyncq("worker", "shop:broker", "--app-dir", "source")

    await program.says("/other.db, namespace asyncq")


async def test_module_that_raises(asyncq: StartProgram, folder: Path) -> None:
    """A module that raises while imported stops the worker at the start, with the user's traceback and exit code 1."""
    (folder / "more.py").write_text("prices = {}\nprices['tea']\n")
    program = await asyncq("worker", "shop:broker", "more")

    assert await program.exits() == 1

    assert "Importing 'more' failed." in program.output
    assert f'File "{folder / "more.py"}", line 2, in <module>' in program.output
    assert program.output.rstrip().endswith("KeyError: 'tea'")
    assert "asyncq/cli" not in program.output


async def test_refusal_is_one_paragraph(asyncq: StartProgram, folder: Path) -> None:
    """A wrong APP is answered with one paragraph and exit code 2."""
    program = await asyncq("worker", "shp:broker")

    assert await program.exits() == 2

    assert program.output.startswith(f"Error: There is no module 'shp'. Looked in {folder} first")
    assert program.output.count("\n") == 1


async def test_missing_extra(asyncq: StartProgram, folder: Path) -> None:
    """A client library that is not installed is answered with the line to type and exit code 2."""
    hidden = "import sys\nsys.modules['redis'] = None\n"
    (folder / "shop.py").write_text(f"{hidden}from asyncq import RedisBroker\nbroker = RedisBroker()\n")
    program = await asyncq("worker", "shop:broker")

    assert await program.exits() == 2

    assert program.output == (
        'Error: RedisBroker needs the redis library, which is not installed: pip install "asyncq[redis]"\n'
    )


async def test_what_only_the_server_can_refuse(asyncq: StartProgram, folder: Path) -> None:
    """What is found wrong when the broker is opened is told in one sentence, too, with exit code 2."""
    (folder / "shop.py").write_text("from asyncq import SQLiteBroker\nbroker = SQLiteBroker('nowhere/queue.db')\n")
    program = await asyncq("worker", "shop:broker")

    assert await program.exits() == 2

    assert program.output.splitlines()[-1].startswith("Error: The folder of the database file")
    assert "Traceback" not in program.output


async def test_fault_of_the_broker(asyncq: StartProgram, folder: Path) -> None:
    """Any other fault ends the worker with exit code 1, and its traceback is in the log, as JSON if that is wanted."""
    (folder / "shop.py").write_text(
        "from asyncq import SQLiteBroker\n"
        "class Broken(SQLiteBroker):\n"
        "    def connect(self): raise RuntimeError('broken')\n"
        "broker = Broken('queue.db')\n"
    )
    program = await asyncq("worker", "shop:broker", "--log-format", "json")

    assert await program.exits() == 1

    last = json.loads(program.output.splitlines()[-1])
    assert last["message"] == "The worker has failed."
    assert "RuntimeError: broken" in last["exception"]


@pytest.fixture
def absent_redis(folder: Path, namespace: str, own_redis: StartRedis) -> RedisServer:
    """A server that the application is to use, and that is not running."""
    server = own_redis()
    write_app(folder, server.url, namespace)
    server.kill()
    return server


async def test_fail_fast(asyncq: StartProgram, absent_redis: RedisServer) -> None:
    """With --fail-fast a worker whose server is not there ends at once, with one sentence and exit code 1."""
    program = await asyncq("worker", "shop:broker", "--fail-fast")

    assert await program.exits() == 1

    last = program.output.splitlines()[-1]
    assert "CRITICAL asyncq.worker: " in last
    assert f"127.0.0.1:{absent_redis.port}" in last
    assert "Traceback" not in program.output


async def test_server_comes_later(asyncq: StartProgram, absent_redis: RedisServer, namespace: str) -> None:
    """A worker whose server is not there says what it tried, goes on trying, and works once it is there."""
    program = await asyncq("worker", "shop:broker")
    await program.says("Trying again in", times=2)
    assert f"127.0.0.1:{absent_redis.port}" in program.output

    await asyncio.to_thread(absent_redis.start)

    await program.says("Ready.")
    async with broker_from_url(absent_redis.url, namespace=namespace) as shop:
        assert await (await task(shop, "add").kiq(1, 2)) == 3


async def test_sigterm_while_the_server_is_away(asyncq: StartProgram, absent_redis: RedisServer) -> None:
    """A worker that waits for its server ends within a second of SIGTERM, with 0."""
    program = await asyncq("worker", "shop:broker")
    await program.says("Trying again in")

    program.signal(SIGTERM)

    assert await program.exits(timeout=1) == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_signal_when_idle(asyncq: StartProgram, number: Signals) -> None:
    """An idle worker is gone within a second of SIGTERM or Ctrl-C, with 0."""
    program = await asyncq("worker", "shop:broker")
    await program.says("Ready.")

    program.signal(number)

    assert await program.exits(timeout=1) == 0
    assert "Stopping. Again to stop at once." in program.output


async def test_ctrl_c_lets_tasks_finish(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """After Ctrl-C a running task finishes, nothing new starts, and the worker ends with 0."""
    program = await asyncq("worker", "shop:broker")
    running = await meet(shop, folder)

    program.signal(SIGINT)
    await program.says("Waiting up to 30 s for 1 running task")
    late = await task(shop, "add").kiq(1, 2)
    (folder / "a.goes-on").touch()

    assert await running == program.pid
    assert await program.exits() == 0
    assert await late.status() is Status.QUEUED


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_timeout_hands_back(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """What does not finish in its time is handed back with no attempt used, and runs elsewhere at once."""
    program = await asyncq("worker", "shop:broker", "--shutdown-timeout", "0.1")
    handle = await meet(shop, folder)

    program.signal(SIGTERM)
    assert await program.exits() == 0
    (folder / "a.goes-on").touch()
    other = await asyncq("worker", "shop:broker")

    result = await handle.result(timeout=5)
    assert (result.value, result.attempts) == (other.pid, 1)


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_second_signal(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A second signal does not wait for running tasks: they are handed back at once."""
    program = await asyncq("worker", "shop:broker")
    handle = await meet(shop, folder)

    program.signal(SIGTERM)
    await program.says("Waiting up to 30 s")
    program.signal(SIGTERM)

    assert await program.exits(timeout=1) == 0
    assert await handle.status() is Status.QUEUED


async def test_second_signal_with_a_blocked_loop(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A second signal ends a worker in a few seconds, even if a task blocks its event loop."""
    program = await asyncq("worker", "shop:broker")
    await task(shop, "block").kiq(60.0)
    await wait_until((folder / "block.runs").exists, "the task blocks the loop")

    program.signal(SIGTERM)
    await program.says("Stopping. Again to stop at once.")
    program.signal(SIGTERM)

    assert await program.exits(timeout=4) == 1


async def test_signals_of_the_application(asyncq: StartProgram, folder: Path) -> None:
    """A signal handler of the application's own is called at once, also while the worker is idle."""
    handler = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('called', flush=True))\n"
    (folder / "more.py").write_text(handler)
    program = await asyncq("worker", "shop:broker", "more", "--lease", "600")
    await program.says("Ready.")

    program.signal(SIGUSR1)

    await program.says("called", timeout=1)


async def test_thread_that_will_not_stop(asyncq: StartProgram, folder: Path, shop: Broker) -> None:
    """A thread that runs on when the time is over ends with the process."""
    program = await asyncq("worker", "shop:broker", "--shutdown-timeout", "0.1")
    await task(shop, "hang").kiq(60.0)
    await wait_until((folder / "hang.runs").exists, "the thread runs")

    began = time.monotonic()
    program.signal(SIGTERM)

    assert await program.exits() == 0
    assert time.monotonic() - began < 4
