"""Sessions: opening and closing in odd moments, and what is under way then."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncq import BrokerUnavailable, MemoryBroker, Status
from asyncq.memory import MemoryStore, MemoryTransport


async def test_closed_before_it_was_opened() -> None:
    """Who waits for an opening is told when the broker is closed in the same turn, and the next use opens it."""
    broker = MemoryBroker()
    opening = asyncio.create_task(broker.open())
    closing = asyncio.create_task(broker.close())
    done, _ = await asyncio.wait([opening, closing], timeout=1)
    assert done == {opening, closing}
    assert isinstance(opening.exception(), BrokerUnavailable)
    async with broker:
        assert broker.is_open()


async def test_closed_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for a server that does not answer."""
    connecting = asyncio.Event()

    async def silent(transport: MemoryTransport) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(MemoryTransport, "open", silent)
    broker = MemoryBroker()
    opening = asyncio.create_task(broker.open())
    await connecting.wait()
    async with asyncio.timeout(1):
        await broker.close()
    assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], BrokerUnavailable)


async def test_an_owner_that_was_cancelled() -> None:
    """A broker whose owner task somebody has cancelled closes without cancelling who closes it, and opens again."""
    broker = MemoryBroker()
    await broker.open()
    [owner] = [task for task in asyncio.all_tasks() if task.get_name() == "asyncq-session"]
    owner.cancel()
    await asyncio.wait([owner])
    await broker.close()
    async with broker:
        assert broker.is_open()


async def test_nothing_starts_while_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for the first time while a broker closes cannot keep it from closing."""
    listening, may_listen, is_over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    listen = MemoryStore.listen

    async def slow(store: MemoryStore, listener: Any) -> str:
        listening.set()
        try:
            await may_listen.wait()
            return await listen(store, listener)
        finally:
            is_over.set()

    async def stubborn(store: MemoryStore, *args: Any, **options: Any) -> Sequence[Any]:
        looking.set()
        try:
            await asyncio.Event().wait()
        finally:
            may_listen.set()
            await is_over.wait()
        return []

    looking = asyncio.Event()
    monkeypatch.setattr(MemoryStore, "listen", slow)
    monkeypatch.setattr(MemoryStore, "look", stubborn)
    broker = MemoryBroker()
    await broker.open()
    waiting = asyncio.create_task(broker.handle("x").result())
    await listening.wait()
    asking = asyncio.create_task(broker.handle("x").status())
    await looking.wait()
    async with asyncio.timeout(1):
        await broker.close()
    asked = await asyncio.gather(waiting, asking, return_exceptions=True)
    assert [type(error) for error in asked] == [BrokerUnavailable] * 2


async def test_a_broken_session_is_replaced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours that breaks a session is logged, and the next use opens a new one."""
    broker = MemoryBroker()

    async def faulty(store: MemoryStore) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "run", faulty)
        [error] = await asyncio.gather(broker.handle("x").result(wait_for_publish=5), return_exceptions=True)
    assert isinstance(error, BrokerUnavailable)
    async with broker:
        assert await broker.handle("x").status() is Status.UNKNOWN
    assert "a fault of ours" in caplog.text


PROGRAM = """
import asyncio, gc, os, threading
from asyncq import MemoryBroker
broker = MemoryBroker()
@broker.task
async def nothing() -> None: ...
"""


def output(tmp_path: Path, program: str) -> list[str]:
    """Return the lines that a program prints, which ends by itself."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM + program)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_fork_after_a_call_without_a_loop(tmp_path: Path) -> None:
    """A process that was forked after `kiq_sync` calls it as its parent did, and ends."""
    program = (
        "nothing.kiq_sync()\n"
        "child = os.fork()\n"
        "nothing.options(id='x').kiq_sync()\n"
        "if child: print('parent', os.waitpid(child, 0)[1])\n"
    )
    assert output(tmp_path, program) == ["parent 0"]


def test_from_a_portal_to_a_loop(tmp_path: Path) -> None:
    """Any number of first uses on a loop, after one without, share one session; closing it leaves nothing open."""
    program = (
        "nothing.kiq_sync()\n"
        "async def main():\n"
        "    await asyncio.gather(*(nothing.kiq() for _ in range(10)))\n"
        "    print(sum(each.get_name() == 'asyncq-session' for each in asyncio.all_tasks()))\n"
        "    await broker.close()\n"
        "    print(sum(each.get_name() == 'asyncq-session' for each in asyncio.all_tasks()))\n"
        "asyncio.run(main())\n"
    )
    assert output(tmp_path, program) == ["1", "0"]


def test_closing_from_elsewhere(tmp_path: Path) -> None:
    """Closing on a loop closes what `kiq_sync` opened on its own; it does not lose what another loop uses."""
    program = (
        "nothing.kiq_sync()\n"
        "portal = broker._sessions.current\n"
        "asyncio.run(broker.close())\n"
        "print(portal.is_open)\n"
        "async def main():\n"
        "    async with broker:\n"
        "        try: await asyncio.to_thread(asyncio.run, broker.close())\n"
        "        except Exception as error: print(type(error).__name__)\n"
        "        print(broker.is_open())\n"
        "asyncio.run(main())\n"
        "print(broker.is_open())\n"
    )
    assert output(tmp_path, program) == ["False", "ConfigurationError", "True", "False"]
