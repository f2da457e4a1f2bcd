"""The floor on RabbitMQ under the same names: `python -m bench.rabbitmq_floor`."""

from collections.abc import Awaitable

from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings
from bench.rabbitmq_floor import Caller


class AiormqPeer(Peer):
    """aiormq and nothing else. AMQP has no batch call; delays go through the plain ladder."""

    async def open(self) -> None:
        self._caller = Caller(Settings.from_environment().url)
        await self._caller.open()

    async def close(self) -> None:
        await self._caller.close()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return self._caller.publish(task, payload)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return self._caller.publish_at(due, "late", due)

    def call(self, value: int) -> Awaitable[object]:
        return self._caller.call("echo", value)


PEER = AiormqPeer
