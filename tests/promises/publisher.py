"""The publisher's side of the application, and its workers."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

from asyncq import Broker, BrokerUnavailable, Handle, ResultMissing
from tests.cli.programs import ROOT, Program, StartProgram

TOLD_TIMEOUT = 40


class Publisher:
    """Publishes the application's tasks from the test's process, which knows only their names."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

        @broker.task(name="app:work")
        async def work(number: int) -> int: ...

        @broker.task(name="app:wait")
        async def wait(name: str, seconds: float) -> int: ...

        @broker.task(name="app:hold")
        async def hold(name: str) -> int: ...

        @broker.task(name="app:block")
        async def block(name: str, how: str, seconds: float) -> int: ...

        @broker.task(name="app:compute")
        async def compute(name: str, how: str = "") -> int: ...

        @broker.task(name="app:call", retry=None)
        async def call(name: str, how: str) -> int: ...

        @broker.task(name="app:poison")
        async def poison(name: str) -> None: ...

        @broker.task(name="app:cleaning")
        async def cleaning(name: str) -> None: ...

        self.work, self.wait, self.hold, self.block = work, wait, hold, block
        self.poison, self.cleaning = poison, cleaning
        self.finish, self.fail, self.stick = (
            broker.task(name=f"app:{name}")(_named) for name in ("finish", "fail", "stick")
        )
        self.compute, self.call = compute, call

    async def publish(self, count: int) -> list[Handle[int]]:
        """Publish so many numbered tasks."""
        return await self.broker.kiq_many(self.work.message(number) for number in range(count))

    @asynccontextmanager
    async def all_told(self, count: int) -> AsyncIterator[None]:
        """Publish so many numbered tasks; the block ends when every waiter has been told its own result."""
        handles = await self.publish(count)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(results_of(handles))
            yield
            async with asyncio.timeout(TOLD_TIMEOUT):
                assert await waiting == [2 * number for number in range(count)]


async def _named(name: str) -> int:
    """What each of several tasks is for a publisher."""
    raise NotImplementedError


async def results_of(handles: Iterable[Handle[int]]) -> list[int]:
    """Wait for all of them at the same time."""
    return await asyncio.gather(*handles)


async def see(handle: Handle[int], number: int, outcomes: list[str]) -> None:
    """Wait for a numbered call through outages, and note what became of it: "a value", its own, or "ResultMissing"."""
    while True:
        try:
            value = (await handle.result(timeout=60)).value
        except BrokerUnavailable:
            continue
        except ResultMissing:
            outcomes.append("ResultMissing")
            return
        assert value == 2 * number
        outcomes.append("a value")
        return


@asynccontextmanager
async def publishing(folder: Path, *arguments: str) -> AsyncIterator[Process]:
    """An application run as a program, which says "Open." when it is connected, and publishes when it is told to."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "app.py", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdout
    try:
        assert await process.stdout.readline() == b"Open.\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def go(process: Process) -> None:
    """Tell it to publish."""
    assert process.stdin
    process.stdin.write(b"go\n")


async def started(start: StartProgram, *options: str) -> Program:
    """Start a worker, and wait until it fetches."""
    program = await start("worker", "app:broker", *options)
    await program.says("Ready.", timeout=20)
    return program


async def stopped(*workers: Program) -> None:
    """Stop workers gracefully, and wait until they are gone."""
    for worker in workers:
        worker.signal(SIGTERM)
    for worker in workers:
        assert await worker.exits() == 0
