"""Where a sample is taken: a clean server, a client process that is given one order, a worker process."""

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lineup import ROOT, Peer
from bench.machine import family, kill_all
from bench.peers.settings import Settings
from bench.rabbitmq import RabbitMQ
from bench.scale import Scale
from bench.servers import RedisServer

TIMEOUT = 300.0
SHUTDOWN_TIMEOUT = 20.0
# Seconds between two looks for a tally: not often enough to disturb, and not what is timed.
LOOK = 0.005
# Seconds between two looks for what is not acknowledged, once all tasks have run: what the end of a drain is exact to.
LOOK_CLOSELY = 0.001
START_UP = 2.0
LINES_OF_LOG = 15


class SampleFailed(Exception):
    """A sample could not be taken; the text says why, with the end of the process's log."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a worker wrote when it had run all tasks.

    Attributes:
        first, last: when the first one started and the last one ended, by the machine's monotonic clock.
        cpu: seconds in between.
        lateness: of tasks that had a due time: that, in seconds since 1970, and how many seconds later they started.
    """

    first: float
    last: float
    cpu: float
    lateness: list[tuple[float, float]]

    def lateness_from(self, earliest: float) -> list[float]:
        """Return how late the tasks were that were due then or later."""
        return [late for due, late in self.lateness if due >= earliest]


@dataclass(slots=True)
class Worker:
    """A running worker."""

    process: asyncio.subprocess.Process
    tally_path: Path
    log: Path

    def pids(self) -> list[int]:
        return family(self.process.pid)

    def check(self) -> None:
        """Raise SampleFailed when the worker has ended by itself."""
        if self.process.returncode is not None:
            raise SampleFailed(f"the worker ended with {self.process.returncode}: {_tail(self.log)}")

    async def tally(self) -> Tally:
        """Wait until all tasks have run."""
        end = time.monotonic() + TIMEOUT
        while not self.tally_path.exists():
            self.check()
            if time.monotonic() > end:
                raise SampleFailed(f"the tasks had not run after {TIMEOUT:.0f} s: {_tail(self.log)}")
            await asyncio.sleep(LOOK)
        return Tally(**json.loads(self.tally_path.read_text()))


@dataclass(frozen=True, slots=True)
class Run:
    """One peer with one sample's settings."""

    peer: Peer
    settings: Settings
    server: RedisServer
    folder: Path
    rabbitmq: RabbitMQ | None = None

    async def ask(self, do: str, **arguments: Any) -> Mapping[str, Any]:
        """Give a fresh client process one order, and return its answer."""
        order = json.dumps({"do": do, **arguments})
        process = await asyncio.create_subprocess_exec(
            *(str(self.peer.programs / "python"), "-m", "bench.peers", self.peer.module, order),
            cwd=ROOT,
            env=self._variables(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                output, errors = await process.communicate()
        except TimeoutError:
            raise SampleFailed(f"the client had not carried out {order} after {TIMEOUT:.0f} s") from None
        finally:
            kill_all([process.pid] if process.returncode is None else [])
        if process.returncode:
            raise SampleFailed(f"the client ended with {process.returncode}: {_end(errors.decode())}")
        return json.loads(output.splitlines()[-1])

    @asynccontextmanager
    async def worker(self, *, start_up: float = 0, is_killed: bool = True) -> AsyncIterator[Worker]:
        """Start a worker process; end it with all that it started, at once or, if not `is_killed`, in its own way.

        Args:
            start_up: seconds to give it before the first order. Some libraries lose a task that arrives meanwhile.
            is_killed: see above.
        """
        log = self.folder / "worker.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *self.peer.worker_command(self.settings.concurrency),
                cwd=ROOT,
                env=self._variables(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert self.settings.tally is not None
        try:
            worker = Worker(process, self.settings.tally, log)
            await asyncio.sleep(start_up)
            try:
                yield worker
            finally:
                worker.check()  # the reason before what followed from it
            if not is_killed:
                await _stop(process)
        finally:
            kill_all(family(process.pid) if process.returncode is None else [])
            await process.wait()

    async def settled(self, worker: Worker) -> tuple[float, int]:
        """Wait until nothing is left to acknowledge; return when that was, and how often was asked."""
        for asked in itertools.count(1):
            if not await self._unsettled():
                return time.monotonic(), asked
            if asked * LOOK_CLOSELY > TIMEOUT:
                break
            await asyncio.sleep(LOOK_CLOSELY)
        raise SampleFailed(f"not all tasks were acknowledged: {_tail(worker.log)}")

    async def _unsettled(self) -> int:
        if self.rabbitmq is not None:
            return await self.rabbitmq.messages(*self.peer.unsettled)
        if self.peer.broker == "redis":
            return await self.server.number(self.peer.unsettled)
        with closing(sqlite3.connect(f"file:{self.settings.url}?mode=ro", uri=True)) as database:
            return database.execute(*self.peer.unsettled).fetchone()[0]

    def _variables(self) -> Mapping[str, str]:
        path = {"PATH": f"{self.peer.programs}:{os.environ.get('PATH', '')}", "PYTHONPATH": str(ROOT)}
        return {**os.environ, **path, **self.peer.variables, **self.settings.to_environment()}


@dataclass(frozen=True, slots=True)
class Stage:
    """Hands out runs on one server.

    Attributes:
        rabbitmq: for the peers whose queues are there; their results are in Redis.
    """

    server: RedisServer
    folder: Path
    scale: Scale
    rabbitmq: RabbitMQ | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def run(
        self,
        peer: Peer,
        *,
        concurrency: int = 100,
        keeps_results: bool = True,
        expected: int = 0,
        server: RedisServer | None = None,
    ) -> Run:
        """Return a run on an emptied server, or in an empty folder."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        used = server or self.server
        await used.flush()
        url = used.url
        if peer.broker == "sqlite":
            url = str(folder / "queue.db")
        elif peer.broker == "rabbitmq":
            assert self.rabbitmq is not None
            await self.rabbitmq.flush()
            url = self.rabbitmq.url
        settings = Settings(url, used.url, concurrency, keeps_results, expected, folder / "tally.json")
        return Run(peer, settings, used, folder, self.rabbitmq)


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(SHUTDOWN_TIMEOUT):
            await process.wait()
    except TimeoutError:
        raise SampleFailed(f"the worker was still there {SHUTDOWN_TIMEOUT:.0f} s after SIGTERM") from None


def _tail(log: Path) -> str:
    return _end(log.read_text(errors="replace"))


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LINES_OF_LOG:])
