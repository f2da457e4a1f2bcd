"""The conformance suites on SQLite."""

from pathlib import Path

import pytest

from asyncq.testing.conformance import Backend, LedgerSuite, StoreSuite, TransportSuite
from tests.conformance.backends import SQLite


class TestTransport(TransportSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SQLite(tmp_path / "asyncq.db")


class TestStore(StoreSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SQLite(tmp_path / "asyncq.db")


class TestLedger(LedgerSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SQLite(tmp_path / "asyncq.db")
