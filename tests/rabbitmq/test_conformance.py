"""The conformance suites on RabbitMQ without a store."""

from collections.abc import Sequence

import pytest

from asyncq import Queue
from asyncq.rabbitmq import RabbitClient, RabbitReplies, RabbitTransport
from asyncq.store import Store
from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.transport import Transport


class RabbitMQ(Backend):
    """A server of the test session."""

    capabilities = RabbitTransport.capabilities

    def __init__(self, url: str) -> None:
        self._url = url
        self._pairs = 0

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        self._pairs += 1
        priorities = {queue.name: queue.max_priority for queue in queues if queue.max_priority}
        client = RabbitClient(
            self._url, namespace=namespace, priorities=priorities, connect_timeout=10, command_timeout=20
        )
        transport = RabbitTransport(client, queues=queues, dead_cap=dead_cap)
        return transport, RabbitReplies(client, f"{namespace}-{self._pairs}")


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)
