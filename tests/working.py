"""A worker beside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncq import Broker, Worker


@asynccontextmanager
async def working(broker: Broker, **options: Any) -> AsyncIterator[Worker]:
    """Run a worker, ready to fetch, until the block ends: then stop it gracefully, or let its burst end."""
    is_started = asyncio.Event()
    worker = Worker(broker, on_started=is_started.set, **options)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await is_started.wait()
        try:
            yield worker
        except BaseException:
            worker.stop()
            raise
        if not options.get("burst"):
            worker.stop()
        await running
