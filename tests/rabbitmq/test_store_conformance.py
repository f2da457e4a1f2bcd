"""The conformance suites on RabbitMQ with a store."""

from pathlib import Path

import pytest

from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.testing.conformance.awaiting import AwaitingSuite
from asyncq.testing.conformance.delaying import DelayingSuite
from asyncq.testing.conformance.fetching import FetchingSuite
from asyncq.testing.conformance.settling import SettlingSuite
from tests.conformance.backends import Redis, SQLite
from tests.rabbitmq.backend import PrioritizedRememberingRabbitMQ, RememberingRabbitMQ


class OnRedis:
    """With Redis beside it."""

    @pytest.fixture
    def backend(self, rabbitmq_url: str, redis_url: str) -> Backend:
        return RememberingRabbitMQ(rabbitmq_url, Redis(redis_url))


class OnSQLite:
    """With a SQLite file beside it."""

    @pytest.fixture
    def backend(self, rabbitmq_url: str, tmp_path: Path) -> Backend:
        return RememberingRabbitMQ(rabbitmq_url, SQLite(tmp_path / "asyncq.db"))


class TestTransportOnRedis(OnRedis, TransportSuite):
    """What moves messages."""


class TestStoreOnRedis(OnRedis, StoreSuite):
    """What remembers calls."""


class TestTransportOnSQLite(OnSQLite, TransportSuite):
    """What moves messages."""


class TestStoreOnSQLite(OnSQLite, StoreSuite):
    """What remembers calls."""


class TestTransportWithPriorities(FetchingSuite, AwaitingSuite, DelayingSuite, SettlingSuite):
    """Queues that ask for priorities are of another kind."""

    @pytest.fixture
    def backend(self, rabbitmq_url: str, tmp_path: Path) -> Backend:
        return PrioritizedRememberingRabbitMQ(rabbitmq_url, SQLite(tmp_path / "asyncq.db"))
