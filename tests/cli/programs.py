"""The command line as a user runs it: a process of its own, whose output a test can wait for."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Protocol, Self

ROOT = Path(__file__).parents[2]


class Program:
    """A running `asyncq ...`. What it says is stdout and stderr together."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._heard = asyncio.Condition()
        self.output = ""

    @classmethod
    @asynccontextmanager
    async def run(cls, folder: Path, *arguments: str) -> AsyncIterator[Self]:
        """Start it in a folder; kill it, if it is still there, at the end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncq", *arguments),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        program = cls(process)
        async with asyncio.TaskGroup() as group:
            group.create_task(program._listen())
            try:
                yield program
            finally:
                program.signal_all(SIGKILL)
                await process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: Signals) -> None:
        """Send a signal to this process alone; nothing happens if it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def signal_all(self, number: Signals) -> None:
        """Send a signal to this process and its children, as a terminal does; nothing happens if all have ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def says(self, text: str, *, times: int = 1, timeout: float = 10) -> None:
        """Wait until its output contains a text so many times."""
        try:
            async with asyncio.timeout(timeout), self._heard:
                await self._heard.wait_for(lambda: self.output.count(text) >= times)
        except TimeoutError:
            raise AssertionError(f"Not within {timeout} s: {text!r}, {times} times. Heard:\n{self.output}") from None

    async def exits(self, *, timeout: float = 10) -> int:
        """Wait until it has ended and all is heard; return the exit code."""
        try:
            async with asyncio.timeout(timeout), self._heard:
                await self._heard.wait_for(lambda: self._is_silent)
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"Still there after {timeout} s. Heard:\n{self.output}") from None

    _is_silent = False

    async def _listen(self) -> None:
        assert self._process.stdout
        while chunk := await self._process.stdout.read(4096):
            async with self._heard:
                self.output += chunk.decode()
                self._heard.notify_all()
        async with self._heard:
            self._is_silent = True
            self._heard.notify_all()


class StartProgram(Protocol):
    """What the fixture `asyncq` gives: start `asyncq ARGUMENTS...` in the test's folder."""

    async def __call__(self, *arguments: str) -> Program: ...


@asynccontextmanager
async def programs(folder: Path) -> AsyncIterator[StartProgram]:
    """Start programs that end with the block."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> Program:
            return await stack.enter_async_context(Program.run(folder, *arguments))

        yield start
