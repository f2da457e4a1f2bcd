"""The child process, as its supervisor sees it."""

import asyncio
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Self, TypeAlias

from asyncq.worker.child import Charge

Command: TypeAlias = Callable[[Charge], Sequence[str]]
"""Returns the arguments that start a child with this charge."""


class ChildProcess:
    """One child process, with the line to it.

    Attributes:
        name: of its worker.
        pid: of the process.
        loaded, started, spent, ended: set when it has got that far; all of them when it has ended.
        has_loaded, has_started, is_spent: whether it did get that far. Spent: it asks to be replaced.
        to_release: dead workers that it was told to release, and may not have yet.
        is_retired: it was told to stop, and nobody is to take its place.
        exit_code: as `subprocess` has it, negative for a signal; None while it lives.
    """

    def __init__(self, name: str, process: Process, line: socket.socket) -> None:
        self.name = name
        self.pid = process.pid
        self.loaded = asyncio.Event()
        self.started = asyncio.Event()
        self.spent = asyncio.Event()
        self.ended = asyncio.Event()
        self.has_loaded = False
        self.has_started = False
        self.is_spent = False
        self.to_release: set[str] = set()
        self.is_retired = False
        self.exit_code: int | None = None
        self._process = process
        self._line = line
        self._killing: asyncio.TimerHandle | None = None

    @classmethod
    async def spawn(cls, command: Command, name: str, *, is_first: bool) -> Self:
        """Start a process. `run` must follow: it closes the line."""
        ours, theirs = socket.socketpair()
        try:
            with theirs, held_back(signal.SIGINT, signal.SIGHUP):
                arguments = command(Charge(theirs.fileno(), name, is_first))
                process = await asyncio.create_subprocess_exec(*arguments, pass_fds=[theirs.fileno()], stdin=DEVNULL)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return cls(name, process, ours)

    async def run(self) -> int:
        """Listen to the child until it has ended; return its exit code."""
        with self._line:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                code = self.exit_code = await self._process.wait()
                # Its last words are in the buffer; a process that it forked may keep the line open for ever.
                await asyncio.wait([listening], timeout=0.1)
                listening.cancel()
        if self._killing is not None:
            self._killing.cancel()
        for event in (self.loaded, self.started, self.spent, self.ended):
            event.set()
        return code

    def order(self, *words: str) -> None:
        """Give an order. One that a frozen or dead child cannot take is lost."""
        with suppress(OSError):
            self._line.send(f"{' '.join(words)}\n".encode())

    def kill_in(self, seconds: float) -> None:
        """Kill the process if it is still there after so many seconds; the last call counts."""
        if self._killing is not None:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(seconds, self._kill)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        with suppress(ConnectionError):  # it died with an order unread
            while heard := await loop.sock_recv(self._line, 1024):
                *words, rest = (rest + heard).split(b"\n")
                for word in words:
                    self._note(word)

    def _note(self, word: bytes) -> None:
        match word:
            case b"loaded":
                self.has_loaded = True
                self.loaded.set()
            case b"started":
                self.has_started = True
                self.started.set()
            case b"spent":
                self.is_spent = True
                self.spent.set()
            case _:
                pass  # a child of another version; the code on disk may have changed under us


@contextmanager
def held_back(*signals: signal.Signals) -> Generator[None]:
    """Let a child start with these signals blocked: they must not hit it before it can ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cause_of_death(exit_code: int) -> str:
    """Return how a process ended, in words: `was killed by SIGKILL`, `ended with exit code 3`."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"
