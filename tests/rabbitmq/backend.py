"""RabbitMQ as a backend of the conformance suites, and for tests that use their stage."""

from collections.abc import Sequence

from asyncq import Queue
from asyncq.rabbitmq import RabbitClient, RabbitReplies, RabbitTransport
from asyncq.store import Store
from asyncq.testing.conformance import Backend
from asyncq.transport import Transport


class RabbitMQ(Backend):
    """A server, to which every process has connections of its own."""

    capabilities = RabbitTransport.capabilities

    def __init__(self, url: str) -> None:
        self._url = url
        self._pairs = 0

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        self._pairs += 1
        client = RabbitClient(
            self._url,
            namespace=namespace,
            priorities={queue.name: queue.max_priority for queue in queues if queue.max_priority},
            connect_timeout=10,
            command_timeout=20,
        )
        transport = RabbitTransport(client, queues=queues, dead_cap=dead_cap)
        return transport, RabbitReplies(client, f"process-{self._pairs}")
