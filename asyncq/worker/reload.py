"""The reloader: starts the worker processes anew whenever the code on disk has changed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from asyncq.errors import MissingExtra

logger = logging.getLogger("asyncq.worker")


class Supervising(Protocol):
    """What is run anew: a supervisor."""

    async def run(self) -> int:
        """Run until stopped."""
        ...

    def stop(self) -> None:
        """Stop gracefully; called again, at once."""
        ...


class Reloader:
    """Runs one supervisor after another.

    Args:
        make: returns the next supervisor.
        folder: where Python files are watched, at any depth; environments, caches and hidden folders are not.

    Raises:
        MissingExtra: watchfiles is not installed.
    """

    def __init__(self, make: Callable[[], Supervising], folder: Path) -> None:
        self._make = make
        self._folder = folder
        self._changes = python_changes(folder)
        self._current: Supervising | None = None
        self._stopped = asyncio.Event()

    async def run(self) -> int:
        """Run until stopped; return the exit code for this process."""
        logger.info("Watching %s: a change restarts the worker once its tasks have finished.", self._folder)
        async with aclosing(self._changes), asyncio.TaskGroup() as group:
            stopped = group.create_task(self._stopped.wait())
            while not stopped.done():
                changed = group.create_task(self._next_change())
                running = group.create_task(self._run_one())
                await asyncio.wait([changed, running], return_when=asyncio.FIRST_COMPLETED)
                if running.done() and not stopped.done():
                    logger.info("The worker has ended; waiting for a change.")
                    await asyncio.wait([changed, stopped], return_when=asyncio.FIRST_COMPLETED)
                elif self._current and not stopped.done():
                    self._current.stop()
                await running
                changed.cancel()
        return 0

    def stop(self) -> None:
        """Stop gracefully; a second time: at once."""
        self._stopped.set()
        if self._current is not None:
            self._current.stop()

    async def _run_one(self) -> None:
        self._current = self._make()
        await self._current.run()
        self._current = None

    async def _next_change(self) -> None:
        paths = await anext(self._changes)
        names = sorted(path.name for path in paths)
        logger.info("Changed: %s. Restarting.", ", ".join(names[:3]) + (" and more" if len(names) > 3 else ""))


def python_changes(folder: Path) -> AsyncGenerator[Collection[Path], None]:
    """Yield the Python files that have changed, whenever some have. Raises MissingExtra at once."""
    try:
        # Here and not at the top: only who asks for it needs the extra.
        from watchfiles import PythonFilter, awatch  # noqa: PLC0415  # pyright: ignore[reportUnknownVariableType] - trio's
    except ImportError as error:
        raise MissingExtra('--reload needs watchfiles, which is not installed: pip install "asyncq[reload]"') from error

    async def changes() -> AsyncGenerator[Collection[Path], None]:
        async with aclosing(awatch(folder, watch_filter=PythonFilter(), debounce=200)) as found:
            async for batch in found:
                yield {Path(path) for _, path in batch}

    return changes()
