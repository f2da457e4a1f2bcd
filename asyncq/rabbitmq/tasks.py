"""The tasks that aiormq starts, so that none of them is left behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from asyncq.rabbitmq.quiet import quiet

GRACE = 1.0
"""Seconds."""


class NotingLoop:
    """A loop as aiormq is given it: the running one, which notes each task that is started through it.

    aiormq keeps no reference to some of its tasks, and returns from `close` before others have ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def create_task(self, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        """Start a task, and note it until it has ended."""
        with quiet():
            task = self._loop.create_task(work, **options)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self) -> None:
        """Return when all of them have ended; what has not by itself, a little after the connection, is cancelled."""
        while self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GRACE)
            for task in late:
                task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whom it concerns has got it by another way
