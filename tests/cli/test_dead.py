"""`asyncq dead`: what a person and a program see, and what is refused."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from click.testing import CliRunner

from asyncq import Broker, Status
from asyncq.cli import main
from asyncq.transport import Dead, Outcome
from tests.cli.programs import ROOT, StartProgram
from tests.cli.shop import ON_ALL, ON_BOTH, WITH_MEMORY, task
from tests.waiting import wait_until

on_both = pytest.mark.parametrize("url", ON_BOTH, indirect=True)
on_all = pytest.mark.parametrize("url", ON_ALL, indirect=True)
with_memory = pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)


async def die(asyncq: StartProgram, shop: Broker, count: int) -> list[str]:
    """Let so many calls of task `fail` die, in order; return their ids."""
    handles = [await task(shop, "fail").kiq() for _ in range(count)]
    worker = await asyncq("worker", "shop:broker", "--burst", "--concurrency", "1")
    assert await worker.exits() == 0
    return [handle.id for handle in handles]


async def output_of(asyncq: StartProgram, *arguments: str, code: int = 0) -> str:
    """Run `asyncq dead ARGUMENTS...` to its end, and return what it says."""
    program = await asyncq("dead", *arguments)
    assert await program.exits() == code, program.output
    return program.output


def objects_in(output: str) -> Sequence[Any]:
    return [json.loads(line) for line in output.splitlines()]


@on_all
async def test_list(asyncq: StartProgram, shop: Broker) -> None:
    """The list has a line for each letter, the newest first, with the error, and says when there are more."""
    ids = await die(asyncq, shop, 3)

    output = await output_of(asyncq, "list", "shop:broker", "--limit", "2")

    header, *lines, last = output.splitlines()
    assert header.split() == ["DIED", "ID", "QUEUE", "TASK", "ATTEMPTS", "ERROR"]
    assert [line.split()[2:] for line in lines] == [
        [id, "default", "fail", "1", "ValueError:", "no"] for id in (ids[2], ids[1])
    ]
    assert last == "These are the newest 2; --limit shows more."


@on_all
async def test_list_for_programs(asyncq: StartProgram, shop: Broker) -> None:
    """With --json each letter is one object a line, with all that is known of it."""
    ids = await die(asyncq, shop, 2)

    letters = objects_in(await output_of(asyncq, "list", "shop:broker", "--json"))

    assert [letter["id"] for letter in letters] == ids[::-1]
    assert letters[0]["error_type"] == "builtins:ValueError"
    assert letters[0]["traceback"].endswith("ValueError: no\n")
    assert letters[0]["died_at"].endswith("Z")
    assert json.loads(letters[0]["body"])["task"] == "fail"


@on_both
async def test_list_filtered(asyncq: StartProgram, shop: Broker) -> None:
    """The filters leave what they say, and an empty list says so."""
    ids = await die(asyncq, shop, 1)

    for filters in (["--task", "fail"], ["--error", "VALUEerror"], ["--newer-than", "1h"], ["--queue", "default"]):
        assert ids[0] in await output_of(asyncq, "list", "shop:broker", *filters)
    for filters in (["--task", "add"], ["--error", "KeyError"], ["--older-than", "1h"], ["--queue", "mail"]):
        assert await output_of(asyncq, "list", "shop:broker", *filters) == "No dead letters.\n"
    assert await output_of(asyncq, "list", "shop:broker", "--task", "add", "--json") == ""


@on_all
async def test_show(asyncq: StartProgram, shop: Broker) -> None:
    """One letter is shown with its facts and its traceback, or as an object; one that is not there ends with 1."""
    (id,) = await die(asyncq, shop, 1)

    output = await output_of(asyncq, "show", "shop:broker", id)
    for line in (
        f"id          {id}\n",
        "error       ValueError: no\n",
        "attempts    1\n",
        "Traceback (most recent call",
    ):
        assert line in output
    (letter,) = objects_in(await output_of(asyncq, "show", "shop:broker", id, "--json"))
    assert letter["id"] == id
    missing = await output_of(asyncq, "show", "shop:broker", "nope", code=1)
    assert missing == "Error: nope: there is no such dead letter (any more).\n"


@with_memory
async def test_retry(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """What is retried runs with the code of now, and whoever awaits the call gets its new end."""
    ids = await die(asyncq, shop, 2)
    source = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text(source.replace('raise ValueError("no")', "return None"))

    assert await output_of(asyncq, "retry", "shop:broker", "--task", "fail") == "2 dead letters put back.\n"
    handles = [task(shop, "fail").handle(id) for id in ids]
    assert [await handle.status() for handle in handles] == [Status.QUEUED] * 2
    await asyncq("worker", "shop:broker")

    assert [(await handle.result(timeout=10)).status for handle in handles] == [Status.SUCCEEDED] * 2
    assert await output_of(asyncq, "retry", "shop:broker", "--all") == "0 dead letters put back.\n"


@on_all
async def test_retry_refused(asyncq: StartProgram, shop: Broker) -> None:
    """What cannot be put back is said by id and ends with 1; the rest is put back."""
    (id,) = await die(asyncq, shop, 1)

    output = await output_of(asyncq, "retry", "shop:broker", id, "nope", code=1)

    assert "1 dead letter put back.\n" in output
    assert "nope: not put back: there is no such dead letter (any more).\n" in output
    (answer,) = objects_in(await output_of(asyncq, "retry", "shop:broker", id, "--json", code=1))
    assert answer == {"ids": [], "refused": {id: "there is no such dead letter (any more)"}}


@on_all
async def test_drop(asyncq: StartProgram, shop: Broker) -> None:
    """One letter is dropped without a question, more only with --yes where there is nobody to ask."""
    ids = await die(asyncq, shop, 3)

    assert await output_of(asyncq, "drop", "shop:broker", ids[0]) == "1 dead letter dropped.\n"
    refused = await output_of(asyncq, "drop", "shop:broker", "--all", code=2)
    assert "This would drop 2 dead letters for good, and there is nobody to ask: add --yes." in refused
    assert len(await shop.dead.list()) == 2
    (answer,) = objects_in(await output_of(asyncq, "drop", "shop:broker", ids[1], "nope", "--yes", "--json", code=1))
    assert answer == {"ids": [ids[1]], "missing": ["nope"]}
    assert await output_of(asyncq, "drop", "shop:broker", "--all", "--yes") == "1 dead letter dropped.\n"
    assert await shop.dead.list() == []


async def test_drop_asks(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """On a terminal the question is asked before many are dropped, and "no" drops none."""
    await die(asyncq, shop, 2)

    code, output = await answered(folder, b"n\n", "dead", "drop", "shop:broker", "--all")
    assert code == 1
    assert "Drop 2 dead letters for good? [y/N]" in output
    assert len(await shop.dead.list()) == 2

    code, output = await answered(folder, b"y\n", "dead", "drop", "shop:broker", "--all")
    assert code == 0
    assert output.endswith("2 dead letters dropped.\n")
    assert await shop.dead.list() == []


async def answered(folder: Path, answer: bytes, *arguments: str) -> tuple[int | None, str]:
    """Run `asyncq ARGUMENTS...` with a terminal on which somebody types an answer."""
    master, slave = os.openpty()
    try:
        os.write(master, answer)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncq", *arguments),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=slave,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()
    finally:
        os.close(master)
        os.close(slave)


@on_both
async def test_a_retry_that_is_killed(asyncq: StartProgram, shop: Broker) -> None:
    """A retry of 5,000 letters that is killed in its midst loses none and doubles none: again, it does the rest."""
    transport = (await shop.open()).transport
    handles = await shop.kiq_many(task(shop, "fail").message() for _ in range(5_000))
    await bury_all(shop)
    retry = await asyncq("dead", "retry", "shop:broker", "--all")

    async def has_begun() -> bool:
        (counts,) = await transport.counts(["default"])
        return counts.ready > 0

    await wait_until(has_begun, "the retry has begun")
    retry.signal(SIGKILL)
    await retry.exits()

    (counts,) = await transport.counts(["default"])
    assert counts.dead > 0
    assert counts.ready + counts.dead == 5_000
    await output_of(asyncq, "retry", "shop:broker", "--all")
    (counts,) = await transport.counts(["default"])
    assert (counts.ready, counts.dead) == (5_000, 0)
    consumer = await transport.consumer("counter", ["default"], lease=60)
    ids: list[str] = []
    while deliveries := await consumer.fetch({"default": 1_000}, 1_000, wait=False):
        ids += [delivery.id for delivery in deliveries]
    assert sorted(ids) == sorted(handle.id for handle in handles)


async def bury_all(shop: Broker) -> None:
    """Let all that is ready die, quickly."""
    transport = (await shop.open()).transport
    consumer = await transport.consumer("undertaker", ["default"], lease=60)
    while deliveries := await consumer.fetch({"default": 500}, 500, wait=False):
        await consumer.settle([Dead(delivery, Outcome(b"{}", 60_000), "died", 3_600_000) for delivery in deliveries])
    await consumer.leave()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry", "shop:broker"], "Say which dead letters are meant: by their ids, by filters"),
        (["drop", "shop:broker", "--yes"], "Say which dead letters are meant"),
        (["retry", "shop:broker", "a", "--all"], "one of the three"),
        (["drop", "shop:broker", "a", "--task", "fail"], "one of the three"),
        (["list", "shop:broker", "--older-than", "soon"], "'soon' is no span of time, such as 90, 90s, 15m, 2h or 3d."),
        (["list", "shop:broker", "--newer-than", "-5"], "'-5' is no span of time"),
        (["list", "shop:broker", "--queue", "two words"], "'--queue': A queue's name is made of letters"),
        (["list", "shop:broker", "--limit", "0"], "'--limit': 0 is not in the range x>=1"),
    ],
)
def test_wrong_options(arguments: list[str], message: str) -> None:
    """What makes no sense is refused with exit code 2 and what is wanted."""
    result = CliRunner().invoke(main, ["dead", *arguments])

    assert result.exit_code == 2
    assert message in result.output


async def test_wrong_app(asyncq: StartProgram) -> None:
    """An APP that names no broker is answered as a worker answers it."""
    assert "There is no module 'shp'." in await output_of(asyncq, "list", "shp:broker", code=2)
    assert "'shop' has no attribute 'brokr'." in await output_of(asyncq, "show", "shop:brokr", "a", code=2)
