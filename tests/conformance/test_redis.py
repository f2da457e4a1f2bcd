"""The conformance suites on Redis."""

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Redis


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, redis_url: str) -> Backend:
        return Redis(redis_url)


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, redis_url: str) -> Backend:
        return Redis(redis_url)


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, redis_url: str) -> Backend:
        return Redis(redis_url)
