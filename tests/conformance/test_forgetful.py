"""The conformance suites on a transport without a memory."""

import pytest

from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from tests.conformance.backends import Forgetful


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return Forgetful()


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return Forgetful()
