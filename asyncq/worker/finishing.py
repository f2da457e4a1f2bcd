"""Finishing: what runs gets the time that it has, and is cancelled when that is over."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from asyncq.worker.executor import Executor
from asyncq.worker.settler import Settler
from asyncq.worker.stopping import Stopping

logger = logging.getLogger("asyncq.worker")

CLEANUP_SECONDS = 5.0
"""How long cancelled tasks may take to clean up before they are cancelled again."""


async def finish(
    executor: Executor, settler: Settler, stopping: Stopping, cut_off: asyncio.Event, *, seconds: float
) -> None:
    """Let running tasks finish in the time they have; cancel the rest, again and again if need be.

    If the server does not answer, it has what is left of that time to come back for what has ended.

    Args:
        executor: runs them.
        settler: settles what has ended.
        stopping: the order to stop.
        cut_off: once it is set, they have no time at all.
        seconds: how long they have after the order to stop in time; before it, they are waited for without a limit.
    """
    if executor.running and not stopping.in_time.is_set() and not cut_off.is_set():
        logger.info("Waiting for %d running tasks.", executor.running)
        await _first_of(executor.wait_idle(), stopping.in_time.wait(), cut_off.wait())
    began = time.monotonic()
    if executor.running and not cut_off.is_set():
        logger.info("Waiting up to %g s for %d running tasks.", seconds, executor.running)
        await _first_of(executor.wait_idle(), stopping.at_once.wait(), cut_off.wait(), timeout=seconds)
    while executor.running:
        logger.warning("Cancelling %d tasks.", executor.running)
        executor.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await executor.wait_idle()
    if not settler.is_empty and not cut_off.is_set():
        left = max(0.0, began + seconds - time.monotonic())
        await _first_of(settler.wait_empty(), stopping.at_once.wait(), cut_off.wait(), timeout=left)


async def _first_of(*ends: Coroutine[Any, Any, object], timeout: float | None = None) -> None:
    """Wait for one of them, or for the time to be over."""
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(end) for end in ends]
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
