"""Calling: runs a task's function where the task says, on the loop, in a thread or in a process, within its time."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from asyncq.backoff import Backoff
from asyncq.context import Context, log_facts
from asyncq.tasks import AsyncTask
from asyncq.worker.answers import Encoded
from asyncq.worker.pool import ProcessPool
from asyncq.worker.poolprocess import ProcessDied, ProcessNotStarted
from asyncq.worker.run import Run
from asyncq.worker.slots import SlotLoan
from asyncq.worker.threads import Threads

__all__ = ["Caller", "ProcessDied"]

MAX_UNTAKEN = 3
"""How many processes may die before they have taken a call, or not start, until they are taken for its fate."""

_AGAIN = Backoff(delay=0.5)

logger = logging.getLogger("asyncq.worker")


class Caller:
    """Calls functions for one executor.

    Args:
        threads: where plain functions run.
        pool: where those run that a process has been asked for.
    """

    def __init__(self, threads: Threads, pool: ProcessPool) -> None:
        self._threads = threads
        self._pool = pool
        self._random = Random()

    def call(
        self, run: Run, context: Context, loan: SlotLoan, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Awaitable[object]:
        """Call the function; what is awaited returns what it returns (`Encoded`, from a process).

        Cancelled, or when its time is over: a coroutine is cancelled, a function in a thread is told and left to
        itself, and the process of another is killed.

        Raises:
            BaseException: what the function raised; `RemoteError` for what it raised in a process.
            TaskTimeout: its time was over.
            ProcessDied: its process ended under it.
            ProcessNotStarted: there was none for it, time and again.
        """
        seconds = run.timeout
        if seconds is None and isinstance(run.task, AsyncTask):
            return run.task.function(*args, **kwargs)
        if run.task.runs_in == "process":
            return self._in_process(run, context, seconds)
        called = self._called(run, context, loan, args, kwargs)
        return called if seconds is None else self._limited(run, seconds, called)

    def close(self) -> None:
        """Start no more processes."""
        self._pool.close()

    async def _called(
        self, run: Run, context: Context, loan: SlotLoan, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> object:
        function = run.task.function
        if run.task.runs_in == "thread":
            value = await self._threads.call(partial(function, *args, **kwargs), context, loan)
        else:
            value = function(*args, **kwargs)
        return await value if asyncio.iscoroutine(value) else value

    async def _in_process(self, run: Run, context: Context, seconds: float | None) -> Encoded:
        """Call it in the pool. Its time begins when a process is ready for it."""
        failures = 0
        while True:
            try:
                async with self._pool.borrowed() as process:
                    called = process.call(run.delivery.body, context)
                    return await (called if seconds is None else self._limited(run, seconds, called))
            except ProcessDied as death:
                failures += 1
                if death.has_begun or failures == MAX_UNTAKEN:
                    raise
            except ProcessNotStarted as error:
                failures += 1
                if failures == MAX_UNTAKEN:
                    raise
                logger.warning("%s Trying again.", error, extra=log_facts(run.message))
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))

    async def _limited(self, run: Run, seconds: float, called: Awaitable[Any]) -> Any:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await called
        except TimeoutError as error:
            if not scope.expired():
                raise  # the task's own
            raise run.timed_out(seconds) from error
