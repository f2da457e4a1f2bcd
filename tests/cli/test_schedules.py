"""`asyncq schedules` and `asyncq scheduler`: what a person and a program see, and what is refused."""

import json
from pathlib import Path
from signal import SIGTERM

import pytest
from click.testing import CliRunner

from asyncq import Broker
from asyncq.cli import main
from tests.cli.programs import StartProgram
from tests.cli.shop import WITH_MEMORY, task
from tests.waiting import wait_until

with_memory = pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)


async def output_of(asyncq: StartProgram, *arguments: str, code: int = 0) -> str:
    """Run `asyncq schedules ARGUMENTS...` to its end, and return what it says."""
    program = await asyncq("schedules", *arguments)
    assert await program.exits() == code, program.output
    return program.output


def schedule_in(folder: Path, text: str) -> None:
    """Give task `add` of the application a schedule."""
    source = (folder / "shop.py").read_text()
    source = source.replace('name="add"', f'name="add", schedule={text}')
    (folder / "shop.py").write_text(
        source.replace("import asyncio\n", "import asyncio\nfrom asyncq import Cron, Every\n")
    )


@with_memory
async def test_the_whole_way(asyncq: StartProgram, shop: Broker) -> None:
    """A schedule is added, listed, shown, paused, resumed, run and removed."""
    added = await output_of(
        asyncq, "add", "shop:broker", "sum", "add", "--cron", "0 6 * * mon", "--tz", "Europe/Prague", "--args", "[1, 2]"
    )
    assert "schedule    Cron('0 6 * * mon', tz='Europe/Prague')\n" in added
    assert "arguments   1, 2\n" in added
    header, line = (await output_of(asyncq, "list", "shop:broker")).splitlines()
    assert header.split() == ["NAME", "TASK", "SCHEDULE", "NEXT", "LAST", "RUNS", "STATE"]
    assert line.split()[:2] == ["sum", "add"]
    assert line.split()[-3:] == ["-", "0", "on"]

    assert "state       paused\n" in await output_of(asyncq, "pause", "shop:broker", "sum")
    (listed,) = (await output_of(asyncq, "list", "shop:broker", "--json")).splitlines()
    facts = json.loads(listed)
    assert (facts["is_paused"], facts["next_at"], facts["args"]) == (True, None, [1, 2])
    assert facts["schedule"]["expression"] == "0 6 * * mon"
    assert "state       on\n" in await output_of(asyncq, "resume", "shop:broker", "sum")

    published = await output_of(asyncq, "run", "shop:broker", "sum")
    worker = await asyncq("worker", "shop:broker", "--burst")
    assert await worker.exits() == 0
    assert await task(shop, "add").handle(published.split()[-1]) == 3
    assert await output_of(asyncq, "remove", "shop:broker", "sum") == "sum is removed.\n"
    assert await output_of(asyncq, "list", "shop:broker") == "No schedules.\n"
    assert await output_of(asyncq, "remove", "shop:broker", "sum", code=1) == "Error: There is no schedule 'sum'.\n"
    assert "There is no schedule 'sum'." in await output_of(asyncq, "show", "shop:broker", "sum", code=1)
    assert "There is no schedule 'sum'." in await output_of(asyncq, "run", "shop:broker", "sum", code=1)


@with_memory
async def test_a_scheduler_and_a_worker(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """`asyncq scheduler` publishes what the code declares, says what it does, and stops when it is told to."""
    schedule_in(folder, "Every(1, args=(1, 2), name='sum')")
    scheduler = await asyncq("scheduler", "shop:broker")
    await scheduler.says("Ready.")
    assert "schedules    1: sum; and those that were added" in scheduler.output
    await asyncq("worker", "shop:broker")

    async def has_run() -> bool:
        info = await shop.schedules.get("sum")
        return info is not None and info.runs > 0

    await wait_until(has_run, "it has ticked")
    info = await shop.schedules.get("sum")
    assert info is not None
    assert (await task(shop, "add").handle(info.last_id).result(timeout=10, wait_for_publish=10)).value == 3
    scheduler.signal(SIGTERM)
    assert await scheduler.exits() == 0
    assert "Stopped." in scheduler.output


async def test_a_worker_with_a_scheduler(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """`asyncq worker --scheduler` does both, and says so."""
    schedule_in(folder, "Every(1, args=(1, 2))")
    worker = await asyncq("worker", "shop:broker", "--scheduler")
    await worker.says("Ready.")
    assert "schedules    1: add; and those that were added" in worker.output

    async def has_run() -> bool:
        info = await shop.schedules.get("add")
        return info is not None and info.runs > 0

    await wait_until(has_run, "it has ticked")
    worker.signal(SIGTERM)
    assert await worker.exits() == 0


async def test_in_a_json_log(asyncq: StartProgram, folder: Path) -> None:
    """With --log-format json the start is one object, with what the lines for people say."""
    schedule_in(folder, "Cron('@daily', args=(1, 2))")
    scheduler = await asyncq("scheduler", "shop:broker", "--log-format", "json")
    await scheduler.says("Ready.")
    start = json.loads(scheduler.output.splitlines()[0])
    assert (start["message"], start["schedules"], start["lease"]) == ("Starting.", ["add"], 15)


@pytest.mark.parametrize("url", ["rabbitmq"], indirect=True)
async def test_without_a_memory(asyncq: StartProgram) -> None:
    """Where nothing remembers schedules, all of it says what to add."""
    for program in (await asyncq("scheduler", "shop:broker"), await asyncq("schedules", "list", "shop:broker")):
        assert await program.exits() == 2
        assert "this broker has no memory of calls" in program.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cron", "* * * * *", "--every", "5"], "one of --cron, --every and --at"),
        ([], "one of --cron, --every and --at"),
        (["--at", "2030-01-01T00:00Z", "--count", "3"], "--at is one tick"),
        (["--at", "2030-01-01T00:00"], "no moment with an offset"),
        (["--at", "soon"], "no moment with an offset"),
        (["--every", "5", "--args", "{}"], "no JSON array"),
        (["--every", "5", "--args", "[1"], "no JSON array"),
        (["--every", "5", "--kwargs", "[]"], "no JSON object"),
        (["--every", "5", "--args", "[1]"], "missing"),
        (["--every", "5", "--args", "[1, 2, 3]"], "takes 2 positional arguments"),
    ],
)
async def test_wrong_additions(asyncq: StartProgram, arguments: list[str], message: str) -> None:
    """What makes no sense is refused with exit code 2 and what is wanted."""
    output = await output_of(asyncq, "add", "shop:broker", "x", "add", *arguments, code=2)
    assert message in output


async def test_wrong_schedules(asyncq: StartProgram) -> None:
    """A cron text that says nothing, a task and a schedule that are not there end with 1."""
    assert "has 2 fields" in await output_of(
        asyncq, "add", "shop:broker", "x", "add", "--cron", "5 5", "--args", "[1, 2]", code=1
    )
    output = await output_of(asyncq, "add", "shop:broker", "x", "ad", "--every", "5", code=1)
    assert "Near it: 'add'" in output


def test_help() -> None:
    """The group says what it has."""
    result = CliRunner().invoke(main, ["schedules", "--help"])
    assert all(name in result.output for name in ("add", "list", "pause", "remove", "resume", "run", "show"))
