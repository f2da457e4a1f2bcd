"""The conformance suites on memory, on a clock that is moved and on the machine's."""

import pytest

from asyncq.memory import MemoryState
from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import Memory, MovedMemory


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return MovedMemory()


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return MovedMemory()


class TestTransportInRealTime(TransportSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return Memory(MemoryState())


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return MovedMemory()
