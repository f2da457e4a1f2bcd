"""The conformance suites on RabbitMQ without a store."""

import pytest

from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.testing.conformance.awaiting import AwaitingSuite
from asyncq.testing.conformance.delaying import DelayingSuite
from asyncq.testing.conformance.fetching import FetchingSuite
from asyncq.testing.conformance.reviving import RevivingSuite
from asyncq.testing.conformance.settling import SettlingSuite
from tests.rabbitmq.backend import PrioritizedRabbitMQ, RabbitMQ


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)


class TestTransportWithPriorities(FetchingSuite, AwaitingSuite, DelayingSuite, SettlingSuite, RevivingSuite):
    """Queues that ask for priorities are of another kind."""

    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return PrioritizedRabbitMQ(rabbitmq_url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, rabbitmq_url: str) -> Backend:
        return RabbitMQ(rabbitmq_url)
