"""repid on a Redis stream: `python -m bench.peers.repid_peer`."""

import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import repid
import uvloop

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

CHANNEL = "bench"

settings = Settings.from_environment()
# With redis-py's own bound on connections, a message or two of a thousand is never acknowledged.
server = repid.RedisServer(f"{settings.url}?max_connections=4096", batch_size=100)
router = repid.Router()
router.actor(channel=CHANNEL)(tasks.noop)
router.actor(channel=CHANNEL)(tasks.nap)
application = repid.Repid()
application.servers.register_server("redis", server, is_default=True)
application.include_router(router)


class RepidPeer(Peer):
    """repid keeps no results, and has neither a batch call nor due times."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        await self._stack.enter_async_context(server.connection())

    async def close(self) -> None:
        await self._stack.aclose()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return application.send_message_json(channel=CHANNEL, payload={"payload": payload}, headers={"topic": task})


PEER = RepidPeer


async def work() -> None:
    """Run the worker until a signal."""
    async with server.connection():
        await application.run_worker(tasks_limit=settings.concurrency)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(work())
