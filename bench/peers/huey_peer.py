"""huey on a SQLite file: `huey_consumer bench.peers.huey_peer.queue -w 1 -k thread`."""

import asyncio
import os

import huey

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

settings = Settings.from_environment()
# None: SQLite's own default, as SqliteHuey has it; False: fsync is switched off.
fsync = False if os.environ.get("BENCH_HUEY_FSYNC") == "off" else None
queue = huey.SqliteHuey(filename=settings.url, fsync=fsync, results=settings.keeps_results)


@queue.task()
def noop(payload: str) -> int:
    """Do nothing."""
    return tasks.noop_sync(payload)


@queue.task()
def echo(value: int) -> int:
    """Return what was given."""
    return value


class HueyPeer(Peer):
    """huey is synchronous: its calls block, one after the other."""

    async def open(self) -> None:
        """Nothing to do: a thread connects as it needs to."""

    async def close(self) -> None:
        queue.storage.close()

    async def enqueue(self, task: Queued, payload: str) -> object:
        await asyncio.sleep(0)
        return noop(payload)

    async def call(self, value: int) -> object:
        await asyncio.sleep(0)
        # Its first look is after 0.1 s unless told otherwise; 10 ms is the bound for all later ones.
        return echo(value).get(blocking=True, timeout=10, backoff=1.0, max_delay=0.01)


PEER = HueyPeer
