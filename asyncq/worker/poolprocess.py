"""A process of the pool, as the worker sees it."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from subprocess import DEVNULL, Popen
from typing import Self, TypeAlias

import anyio
import anyio.to_thread
import msgspec

from asyncq.context import Context
from asyncq.worker.answers import Began, Encoded, Failed, Frames, Ready, Reported, answer_in, framed
from asyncq.worker.process import cause_of_death, held_back
from asyncq.worker.raised import RemoteError

START_SECONDS = 60.0
"""How long a process may take to import the application."""

FAREWELL_SECONDS = 0.5
"""How long a process that is not needed any more has to end by itself."""

CHUNK = 65_536

logger = logging.getLogger("asyncq.worker")


@dataclass(frozen=True, slots=True)
class PoolCharge:
    """What a worker tells a process of its pool on the command line, as `FD:PID`.

    Attributes:
        fd: the process's end of the line.
        worker: id of the worker's process, without which it must not live.
    """

    fd: int
    worker: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the charge that is spelled so."""
        fd, worker = text.split(":")
        return cls(int(fd), int(worker))

    def __str__(self) -> str:
        return f"{self.fd}:{self.worker}"


PoolCommand: TypeAlias = Callable[[PoolCharge], Sequence[str]]
"""Returns the arguments that start a process of the pool with this charge."""


class ProcessDied(Exception):
    """The process ended while it had a call.

    Attributes:
        has_begun: the process had taken the call; else it had died before, of something else.
    """

    def __init__(self, cause: str, *, has_begun: bool) -> None:
        super().__init__(cause)
        self.has_begun = has_begun


class ProcessNotStarted(Exception):
    """A process ended, or was too slow, before it could take a call."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"A process to run the task in did not start: {cause}.")


class PoolProcess:
    """One process, with the line to it: one call at a time. `run` must follow at once: it closes the line.

    The process leads a group of its own: a terminal's Ctrl-C does not reach it, and what its functions started is
    killed with it.

    Attributes:
        pid: of the process.
        calls: how many it has taken.
        is_usable: it can take a call, as far as one can tell.
    """

    def __init__(self, process: Popen[bytes], line: socket.socket) -> None:
        self.pid = process.pid
        self.calls = 0
        self.is_usable = False
        self._process = process
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._answered: asyncio.Future[object] | None = None
        self._context: Context | None = None
        self._has_begun = False
        self._timer: asyncio.TimerHandle | None = None
        self._has_sent = asyncio.Event()
        self._has_sent.set()

    @classmethod
    def spawn(cls, command: PoolCommand) -> Self:
        """Start a process, on the loop's thread: Linux takes the end of that thread for the end of the parent."""
        ours, theirs = socket.socketpair()
        try:
            # Until it can ignore them: a service manager sends SIGTERM to all processes, and the worker decides.
            with theirs, held_back(signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                arguments = command(PoolCharge(theirs.fileno(), os.getpid()))
                process = Popen(arguments, pass_fds=[theirs.fileno()], stdin=DEVNULL, process_group=0)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return cls(process, ours)

    async def run(self) -> None:
        """Listen to the process until it has ended, and see to that it has. Cancelled: kill it."""
        try:
            # It died with a call unread; or its functions have written on the line.
            with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                await self._listen()
        finally:
            self.kill()
            # In a thread that goes on also when this is cancelled: nobody stays a zombie.
            wait = self._process.wait
            await anyio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(inf))
            self._bury()
            await self._has_sent.wait()  # the loop must not be watching a socket that is closed
            self._line.close()

    async def wait_ready(self) -> None:
        """Wait until it takes calls. Raises ProcessNotStarted."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.kill()
            raise ProcessNotStarted(f"it did not import the application within {START_SECONDS:g} s") from None
        except asyncio.CancelledError:
            self.kill()
            raise

    async def call(self, body: bytes, context: Context) -> Encoded:
        """Have it run a call; return what the function returned. Cancelled: kill the process.

        Raises:
            RemoteError: the function raised.
            ProcessDied: the process ended.
        """
        self.calls += 1
        self._context, self._has_begun = context, False
        answered = self._answered = self._loop.create_future()
        try:
            await self._send(framed(body))
            answer = await answered
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            self._answered = self._context = None
        if isinstance(answer, Failed):
            raise RemoteError(answer.raised)
        assert isinstance(answer, Encoded)
        return answer

    def end_in(self, seconds: float) -> None:
        """Let it end when so much time has gone by without `keep`."""
        self._set_timer(seconds, self.end)

    def keep(self) -> None:
        """Do not let it end after all."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """Let it end by itself, with its own clean-up; kill it if that takes long."""
        self.is_usable = False
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
        self._set_timer(FAREWELL_SECONDS, self.kill)

    def kill(self) -> None:
        """Kill it, and what its functions started."""
        self.is_usable = False
        if self._process.returncode is None:  # not waited for, so that its id is still its own
            for kill in (os.killpg, os.kill):  # its function may have moved it to another group
                with suppress(ProcessLookupError, PermissionError):
                    kill(self.pid, signal.SIGKILL)

    async def _send(self, frame: bytes) -> None:
        self._has_sent.clear()
        try:
            await self._loop.sock_sendall(self._line, frame)
        except OSError:
            pass  # it is dead: `run` will say so
        finally:
            self._has_sent.set()

    def _set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self.keep()
        self._timer = self._loop.call_later(seconds, callback)

    async def _listen(self) -> None:
        frames = Frames()
        while data := await self._loop.sock_recv(self._line, CHUNK):
            for body in frames.feed(data):
                self._take(answer_in(body))

    def _take(self, answer: object) -> None:
        match answer:
            case Ready():
                self.is_usable = True
                if not self._ready.done():
                    self._ready.set_result(None)
            case Began():
                self._has_begun = True
            case Reported(done, total, note):
                if self._context is not None:
                    self._context.progress_sync(done, total, note)
            case _:
                if self._answered is not None and not self._answered.done():
                    self._answered.set_result(answer)

    def _bury(self) -> None:
        """Tell whoever waits that it is dead."""
        self.keep()
        cause = cause_of_death(self._process.returncode)
        if not self._ready.done():
            self._ready.set_exception(ProcessNotStarted(f"it {cause}"))
            self._ready.exception()  # whoever waited may have gone: then there is nobody to tell
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ProcessDied(cause, has_begun=self._has_begun))
