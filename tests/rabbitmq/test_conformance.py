"""The conformance suites on RabbitMQ without a store."""

import pytest

from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from tests.rabbitmq.backend import RabbitMQ


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)
