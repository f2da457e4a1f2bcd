"""The demo and the server, run as `make demo` and `make serve` run them."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from examples.fastapi_app.service import ROOT
from tests.examples.conftest import Place
from tests.leftovers import process_name


@asynccontextmanager
async def program(name: str, *arguments: str, **variables: str) -> AsyncIterator[Process]:
    """Run a program of the example; kill it if the test fails before it has ended."""
    command = [sys.executable, "-m", f"examples.fastapi_app.{name}", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1", **variables}, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()  # not kill: it has children to end
        await process.communicate()


async def output_of(process: Process) -> tuple[int | None, str, str]:
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def lines_until(process: Process, pattern: str) -> re.Match[str]:
    """Read what a program says until a line matches."""
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"The program ended without saying {pattern!r}.")


async def children_of(process: Process) -> list[int]:
    """Return the processes that a program has started, the HTTP server first."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.parametrize("kind", ["sqlite", "redis", "rabbitmq+redis", "rabbitmq+sqlite"])
async def test_the_demo_gets_every_result_right(place: Place) -> None:
    """The demo shows its chapters, every tenth of its progress, and ends by itself with 0."""
    async with program("demo", "--rows", "20000", ASYNCQ_URL=place.broker_url, ASYNCQ_STORE=place.store_url) as demo:
        code, out, error = await output_of(demo)
    assert (code, error) == (0, ""), out
    assert "100%  20,000 of 20,000 rows" in out
    assert "order 17 delivered at attempt 3" in out
    assert "Every result came back right" in out


async def test_the_demo_on_rabbitmq_brings_its_own_store(rabbitmq_url: str) -> None:
    """With RabbitMQ's URL alone the demo is whole: a SQLite file in its folder remembers the calls."""
    async with program("demo", "--rows", "5000", ASYNCQ_URL=rabbitmq_url) as demo:
        code, out, error = await output_of(demo)
    assert (code, error) == (0, ""), out
    assert re.search(r"between them amqp://\S+ with store sqlite:///\S+asyncq\.db\n", out)
    assert "Uploads do not stay" in out


async def test_the_demo_on_rabbitmq_without_a_store(rabbitmq_url: str) -> None:
    """Where nothing remembers calls the demo shows what works all the same, and what is refused with what to add."""
    async with program("demo", ASYNCQ_URL=rabbitmq_url, ASYNCQ_STORE="") as demo:
        code, out, error = await output_of(demo)
    assert (code, error) == (0, ""), out
    assert "order 17 delivered at attempt 3" in out
    assert "1,000 small tasks at once" in out
    assert out.count("501, ") == 2
    assert 'RabbitMQBroker(url, store="redis://...")' in out


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    """When the broker cannot be reached the demo says so in one line, without a traceback, and ends with 1."""
    async with program("demo", ASYNCQ_URL="redis://:secret@127.0.0.1:1/0") as demo:
        code, out, error = await output_of(demo)
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
    assert "127.0.0.1:1" in error
    assert "secret" not in error


@pytest.mark.parametrize(("url", "says"), [("memory://", "inside one process"), ("reddis://x", "redis")])
async def test_a_broker_that_cannot_do_is_one_sentence(url: str, says: str) -> None:
    """A broker that two processes cannot share, or that does not exist, is one sentence and exit code 1."""
    async with program("demo", ASYNCQ_URL=url) as demo:
        code, _, error = await output_of(demo)
    assert (code, error.count("\n")) == (1, 1)
    assert says in error


async def test_a_worker_that_dies_fails_the_demo_with_its_log() -> None:
    """When a process of the service dies, the demo says which, shows the logs, and ends with 1 and nothing running."""
    async with program("demo") as demo:
        worker = int((await lines_until(demo, r"worker \(process (\d+)\)"))[1])
        os.kill(worker, signal.SIGKILL)
        code, out, _ = await output_of(demo)
    assert code == 1
    assert "The worker ended with exit code -9" in out
    assert "Last lines of the worker" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stopped_demo_leaves_nothing_running(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM or a closed terminal ends the demo soon, its processes with it."""
    async with program("demo") as demo:
        await lines_until(demo, "Both are up")
        children = await children_of(demo)
        demo.send_signal(number)
        code, _, error = await output_of(demo)
    assert (code, error) == (128 + number, "")
    assert len(children) == 2
    assert not any(map(process_name, children))


async def test_serve_runs_until_ctrl_c() -> None:
    """The server says where to open the page, serves it, and ends with 0 at Ctrl-C, its processes with it."""
    async with program("serve", PORT="0") as serve:
        address = (await lines_until(serve, r"Open (http://\S+)"))[1]
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
            assert "<title>Reports</title>" in (await client.get("/")).text
            words = await client.post("/quick", json={"text": "hello"})
            assert words.status_code in (200, 202)
        children = await children_of(serve)
        serve.send_signal(signal.SIGINT)
        code, out, error = await output_of(serve)
    assert (code, error) == (0, "")
    assert "Stopped" in out
    assert not any(map(process_name, children))
