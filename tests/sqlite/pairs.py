"""Transport and store on a file, opened together, and programs that do the same in another process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from asyncq.queues import Queue
from asyncq.sqlite import SQLiteDatabase, SQLiteStore, SQLiteTransport
from asyncq.transport import Done, Envelope, Outcome

QUEUE = "mail"
LIMITS = {QUEUE: 1_000}
MINUTE_MS = 60_000
KEPT = Outcome(b"{}", MINUTE_MS)


class Pair(NamedTuple):
    """What a broker has."""

    database: SQLiteDatabase
    transport: SQLiteTransport
    store: SQLiteStore

    async def publish(self, *ids: str) -> None:
        """Publish messages that have to be accepted."""
        receipts = await self.transport.publish([Envelope(id, QUEUE, id.encode()) for id in ids])
        assert list(receipts) == [None] * len(ids)

    async def finish(self, *, count: int, outcome: Outcome = KEPT) -> None:
        """Fetch and end so many messages, as a consumer that leaves."""
        consumer = await self.transport.consumer(f"worker-{os.urandom(4).hex()}", [QUEUE], lease=60)
        while count:
            deliveries = await consumer.fetch(LIMITS, count)
            assert all(await consumer.settle([Done(delivery, outcome) for delivery in deliveries]))
            count -= len(deliveries)
        await consumer.leave()


def make_pair(path: Path, *, command_timeout: float = 5, queues: Sequence[Queue] = ()) -> Pair:
    """Return a pair that is not opened yet."""
    database = SQLiteDatabase(path, command_timeout=command_timeout, synchronous="NORMAL")
    return Pair(
        database,
        SQLiteTransport(database, namespace="test", queues=queues),
        SQLiteStore(database, namespace="test"),
    )


@asynccontextmanager
async def opened(path: Path, *, command_timeout: float = 5) -> AsyncIterator[Pair]:
    """Open a pair as a broker does, and close it."""
    pair = make_pair(path, command_timeout=command_timeout)
    await pair.store.open()
    await pair.transport.open()
    try:
        yield pair
    finally:
        await pair.transport.close()
        await pair.store.close()


@asynccontextmanager
async def program(source: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python source in another process, and kill that at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        source,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Return the next line that the process prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()
