"""The service as two processes, the HTTP server and a worker: started together, and never left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from anyio import to_thread

from asyncq import AsyncqError
from examples.fastapi_app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0
"""Seconds that a process may take to end by itself."""


class CannotStart(Exception):
    """There is no use in starting; the message is for the user."""


class ProcessEnded(Exception):
    """A process of the service ended, and nobody had asked it to."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the service, and where it writes what it has to say."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    async def end(self) -> int:
        """Return its exit code when it has ended."""
        # In a thread that is left alone if nobody waits any more: it ends when the process does.
        return await to_thread.run_sync(self.popen.wait, abandon_on_cancel=True)

    def log_end(self, lines: int = 30) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True, slots=True)
class Service:
    """The running service.

    Attributes:
        address: where it answers HTTP, without a slash at the end.
    """

    address: str
    server: Process
    worker: Process

    @property
    def processes(self) -> tuple[Process, Process]:
        return self.server, self.worker

    async def watch(self) -> NoReturn:
        """Wait for a process to end, and raise ProcessEnded."""
        ends = {asyncio.ensure_future(process.end()): process for process in self.processes}
        try:
            ended, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        first = ended.pop()
        raise ProcessEnded(f"The {ends[first].name} ended with exit code {first.result()}.")


@contextmanager
def running_service(
    settings: Settings, logs: Path, *, port: int = 0, worker_options: Sequence[str] = ()
) -> Iterator[Service]:
    """Run the service until the block is left, however it is left.

    It answers from the start: requests that come before the server is up wait for it.

    Args:
        settings: for both processes.
        logs: the folder they write their logs to.
        port: 0: any that is free.
        worker_options: more options for `asyncq worker`.
    """
    with ExitStack() as stack:
        # The socket is bound here and handed down: no other program can take the port between looking and binding.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=1024))
        # Accepted connections inherit it. uvicorn takes a socket from --fd for a Unix one and would not set it: an
        # answer in two parts would then come 40 ms late.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, bound_port = listener.getsockname()
        server = stack.enter_context(running_server(settings, logs, listener))
        # With this copy open, requests to a server that has died would wait for ever instead of being refused.
        listener.close()
        worker = stack.enter_context(running_worker(settings, logs, *worker_options))
        yield Service(f"http://{host}:{bound_port}", server, worker)


@contextmanager
def running_server(settings: Settings, logs: Path, listener: socket.socket) -> Iterator[Process]:
    """Run the HTTP server on a bound socket until the block is left."""
    options = ["--fd", str(listener.fileno()), "--log-level", "warning", "--timeout-graceful-shutdown", "3"]
    command = ["uvicorn", "examples.fastapi_app.app:app", *options]
    with _running("HTTP server", command, settings, logs / "server.log", listener.fileno()) as process:
        yield process


@contextmanager
def running_worker(settings: Settings, logs: Path, *options: str) -> Iterator[Process]:
    """Run a worker until the block is left."""
    command = ["asyncq", "worker", "examples.fastapi_app.tasks:broker", *options]
    with _running("worker", command, settings, logs / "worker.log") as process:
        yield process


@contextmanager
def _running(name: str, command: Sequence[str], settings: Settings, log: Path, *files: int) -> Iterator[Process]:
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,  # `examples` is imported from there
            env={**os.environ, **settings.environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=files,
            process_group=0,  # Ctrl-C is for us; we then end the processes in order
        )
    try:
        yield Process(name, popen, log)
    finally:
        _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    try:
        popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            popen.wait(PATIENCE)
    finally:  # also when a second Ctrl-C cuts the waiting short
        popen.kill()
        popen.wait()


async def check_broker(settings: Settings) -> None:
    """Raise CannotStart, with one sentence, unless the broker can be reached from several processes."""
    try:
        async with settings.broker() as broker:
            if not broker.capabilities.is_shared:
                raise CannotStart(f"{broker.describe()} lives inside one process; the server and the worker are two.")
    except AsyncqError as error:
        raise CannotStart(f"Cannot start: {error}") from error


def end_on_signals() -> None:
    """Leave the program by its `finally` blocks on SIGTERM and SIGHUP too."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
