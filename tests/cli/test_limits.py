"""`asyncq limits`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncq import broker_from_url
from asyncq.limits import Kind, LimitId, Numbers
from tests.cli.programs import StartProgram
from tests.cli.shop import WITH_MEMORY

APP = """
from asyncq import ConcurrencyLimit, RateLimit, broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="charge", rate_limit=RateLimit(1, per=60, name="payments"))
async def charge() -> str:
    return "charged"


@broker.task(name="report", concurrency=ConcurrencyLimit(3))
async def report() -> None: ...
"""


pytestmark = pytest.mark.parametrize("url", WITH_MEMORY, indirect=True)


@pytest.fixture
def folder(tmp_path: Path, url: str, namespace: str, options: Mapping[str, Any]) -> Path:
    """A folder with an application that has limits."""
    (tmp_path / "shop.py").write_text(APP.format(url=url, namespace=namespace, options=options))
    return tmp_path


async def said(asyncq: StartProgram, *arguments: str, code: int = 0) -> list[str]:
    """Run a command to its end and return its lines."""
    program = await asyncq("limits", *arguments)
    assert await program.exits() == code, program.output
    return program.output.splitlines()


async def test_a_limit_is_changed_paused_and_reset(
    asyncq: StartProgram, url: str, namespace: str, options: Mapping[str, Any]
) -> None:
    """A change lets those go who wait, and is listed beside what is declared until it is reset."""
    assert await said(asyncq, "list", "shop:broker") == ["No limits."]
    worker = await asyncq("worker", "shop:broker")
    await worker.says("Ready.")
    async with broker_from_url(url, namespace=namespace, **options) as broker:

        @broker.task(name="charge")
        async def charge() -> str: ...

        first, second = [await charge.kiq() for _ in range(2)]
        assert await first == "charged"
        program = await asyncq("queues", "shop:broker")
        assert await program.exits() == 0, program.output
        header, default = program.output.splitlines()
        assert dict(zip(header.split(), default.split(), strict=True))["WAITING"] == "1"
        assert await said(asyncq, "change", "shop:broker", "payments", "50", "--per", "60s") == ["payments: changed."]
        assert await second == "charged"
    assert await said(asyncq, "pause", "shop:broker", "payments", "10m") == ["payments: paused."]
    header, rate, slots = await said(asyncq, "list", "shop:broker")
    assert header.split() == ["KIND", "NAME", "ALLOWS", "DECLARED", "PAUSED"]
    assert rate.split()[:8] == ["rate", "payments", "50", "in", "60s", "1", "in", "60s"]
    assert slots.split() == ["slots", "report", "3", "at", "once"]
    assert await said(asyncq, "pause", "shop:broker", "payments", "0") == ["payments: not paused any more."]
    assert await said(asyncq, "reset", "shop:broker", "payments") == ["payments: reset."]
    [line, _] = await said(asyncq, "list", "shop:broker", "--json")
    assert json.loads(line) == {
        "kind": "rate",
        "name": "payments",
        "declared": {"limit": 1, "per_ms": 60_000, "burst": 0},
        "changed": None,
        "paused": 0,
    }


async def test_a_limit_without_a_name(
    asyncq: StartProgram, url: str, namespace: str, options: Mapping[str, Any]
) -> None:
    """One of several limits of a task that have no names is known by its position, and changed by that."""
    async with broker_from_url(url, namespace=namespace, **options) as broker:
        await (await broker.limit_office()).declare({LimitId(Kind.RATE, "send#1"): Numbers(5, 1_000)})
        assert await said(asyncq, "change", "shop:broker", "send#1", "7", "--per", "1s") == ["send#1: changed."]
        _, line = await said(asyncq, "list", "shop:broker")
    assert line.split() == ["rate", "send#1", "7", "in", "1s", "5", "in", "1s"]


async def test_what_is_no_limit(asyncq: StartProgram) -> None:
    """What is unknown, or makes no sense, is said in a sentence."""
    [line, *_] = await said(asyncq, "reset", "shop:broker", "nothing", code=2)
    assert "No limit 'nothing' is known" in line
    [line, *_] = await said(asyncq, "change", "shop:broker", "payments", "0", "--per", "60s", code=2)
    assert "limit= is a whole number from 1" in line
