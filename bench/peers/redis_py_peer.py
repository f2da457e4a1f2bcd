"""One XADD through redis-py and nothing else: what a sequential publish is compared with."""

from collections.abc import Awaitable

import redis.asyncio

from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

# As much as a message with a payload of 100 bytes takes.
BODY = b"x" * 200


class RawPeer(Peer):
    """redis-py as it comes."""

    async def open(self) -> None:
        self._redis = redis.asyncio.Redis.from_url(Settings.from_environment().url)
        await self._redis.initialize()

    async def close(self) -> None:
        await self._redis.aclose()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return self._redis.xadd("raw", {"m": BODY})


PEER = RawPeer
