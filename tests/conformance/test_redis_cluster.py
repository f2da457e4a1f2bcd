"""The conformance suites on a Redis cluster, of which one node is named."""

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Redis
from tests.topologies import RedisCluster


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, redis_cluster: RedisCluster) -> Backend:
        return Redis(redis_cluster.url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, redis_cluster: RedisCluster) -> Backend:
        return Redis(redis_cluster.url)


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, redis_cluster: RedisCluster) -> Backend:
        return Redis(redis_cluster.url)
