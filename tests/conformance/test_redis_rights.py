"""The conformance suites on Redis, as a user that may do what docs/redis.md says and no more."""

from collections.abc import Iterator

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Redis
from tests.redis.rights import create_user
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server, as that user."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield create_user(server)


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, url: str) -> Backend:
        return Redis(url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, url: str) -> Backend:
        return Redis(url)


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, url: str) -> Backend:
        return Redis(url)
