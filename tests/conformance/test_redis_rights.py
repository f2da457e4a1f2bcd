"""The conformance suites on Redis, as a user that may do what docs/redis.md says and no more."""

from collections.abc import Iterator

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Redis
from tests.redis.rights import create_user
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A server, as that user."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield Redis(create_user(server), operator=server.url)


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, redis: Redis) -> Backend:
        return redis


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, redis: Redis) -> Backend:
        return redis


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, redis: Redis) -> Backend:
        return redis
