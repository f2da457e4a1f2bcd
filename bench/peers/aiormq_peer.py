"""The floor on RabbitMQ under the same names: `python -m bench.rabbitmq_floor`."""

from collections.abc import Awaitable

from bench.peers.caller_peer import CallerPeer
from bench.peers.settings import Settings
from bench.rabbitmq_floor import Caller


class AiormqPeer(CallerPeer):
    """aiormq and nothing else. AMQP has no batch call; delays go through the plain ladder."""

    def __init__(self) -> None:
        self._floor = Caller(Settings.from_environment().url)
        super().__init__(self._floor)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return self._floor.publish_at(due, "late", due)


PEER = AiormqPeer
