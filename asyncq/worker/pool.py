"""The pool: processes that run plain functions, one call at a time each, reused and replaced.

Why not `anyio.to_process`, which also keeps such processes: it sends functions and arguments as pickles, where ours
go by the task's own codecs; it points stdout and stdin to nowhere, where a task's prints should be seen; its
processes notice the death of their parent only between two calls, where ours must not outlive a worker that was
killed; and it imports the main program, not the application as the command line names it. `concurrent.futures` gives
up its whole pool when one process dies, and cannot stop a call that runs.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from asyncq.worker.memory import resident_bytes
from asyncq.worker.poolprocess import PoolCommand, PoolProcess, ProcessNotStarted

IDLE_SECONDS = 60.0
"""How long a process without work is kept."""

logger = logging.getLogger("asyncq.worker")


class ProcessPool:
    """Starts processes when they are needed, and keeps them for the next call.

    Args:
        command: returns what to start.
        group: owns the asyncio tasks that follow the processes; it can end only after `close`.
        size: how many processes at most.
        max_calls: after so many calls a process is replaced; None: never.
        max_memory: above so many bytes it is replaced once its call has ended; None: never.
    """

    def __init__(
        self,
        command: PoolCommand,
        group: asyncio.TaskGroup,
        *,
        size: int,
        max_calls: int | None = None,
        max_memory: int | None = None,
    ) -> None:
        self._command = command
        self._group = group
        self._max_calls = max_calls
        self._max_memory = max_memory
        self._places = asyncio.Semaphore(size)
        self._idle: list[PoolProcess] = []
        self._is_closed = False

    @asynccontextmanager
    async def borrowed(self) -> AsyncGenerator[PoolProcess]:
        """Wait for a process that is ready, and have it to oneself. Raises ProcessNotStarted."""
        async with self._places:
            process = self._take_idle() or await self._started()
            try:
                yield process
            finally:
                self._give_back(process)

    def close(self) -> None:
        """Let the processes end: idle ones now, others when their call has."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().end()

    def _take_idle(self) -> PoolProcess | None:
        while self._idle:
            process = self._idle.pop()  # the last one first: those that are not needed get old
            process.keep()
            if process.is_usable:
                return process
        return None

    async def _started(self) -> PoolProcess:
        try:
            process = PoolProcess.spawn(self._command)
        except OSError as error:
            raise ProcessNotStarted(str(error)) from error
        self._group.create_task(process.run(), name="asyncq-pool-process")
        await process.wait_ready()
        return process

    def _give_back(self, process: PoolProcess) -> None:
        if not process.is_usable:
            return
        if self._is_closed or self._is_spent(process):
            process.end()
        else:
            process.end_in(IDLE_SECONDS)
            self._idle.append(process)

    def _is_spent(self, process: PoolProcess) -> bool:
        if self._max_calls is not None and process.calls >= self._max_calls:
            return True
        return self._max_memory is not None and resident_bytes(process.pid) > self._max_memory


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
