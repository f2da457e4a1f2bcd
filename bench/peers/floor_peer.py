"""The floor under the same names: `python -m bench.floor`."""

from collections.abc import Awaitable, Sequence

from bench.floor import Caller
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings


class FloorPeer(Peer):
    """The hot path with nothing else in it."""

    batch_size = 1000

    async def open(self) -> None:
        self._caller = Caller(Settings.from_environment().url)
        await self._caller.open()

    async def close(self) -> None:
        await self._caller.close()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return self._caller.publish(task, payload)

    def enqueue_batch(self, task: Queued, payloads: Sequence[str]) -> Awaitable[object]:
        return self._caller.publish_many(task, payloads)

    def call(self, value: int) -> Awaitable[object]:
        return self._caller.call("echo", value)


PEER = FloorPeer
