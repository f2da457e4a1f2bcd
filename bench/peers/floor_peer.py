"""The floor under the same names: `python -m bench.floor`."""

from collections.abc import Awaitable, Sequence

from bench.floor import Caller
from bench.peers.caller_peer import CallerPeer
from bench.peers.peer import Queued
from bench.peers.settings import Settings


class FloorPeer(CallerPeer):
    """The hot path with nothing else in it."""

    batch_size = 1000

    def __init__(self) -> None:
        self._floor = Caller(Settings.from_environment().url)
        super().__init__(self._floor)

    def enqueue_batch(self, task: Queued, payloads: Sequence[str]) -> Awaitable[object]:
        return self._floor.publish_many(task, payloads)


PEER = FloorPeer
