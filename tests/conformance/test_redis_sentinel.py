"""The conformance suites on the master that sentinels name."""

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Redis
from tests.topologies import Sentinels


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, sentinels: Sentinels) -> Backend:
        return Redis(sentinels.url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, sentinels: Sentinels) -> Backend:
        return Redis(sentinels.url)


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, sentinels: Sentinels) -> Backend:
        return Redis(sentinels.url)
