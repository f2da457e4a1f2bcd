"""The SQLite transport and store keep every promise of their contracts."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncq.queues import Queue
from asyncq.sqlite import SQLiteDatabase, SQLiteStore, SQLiteTransport
from asyncq.sqlite.doorbell import PollingDoorbell
from asyncq.store import Store
from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.testing.conformance.absolving import AbsolvingSuite
from asyncq.testing.conformance.awaiting import AwaitingSuite
from asyncq.testing.conformance.delaying import DelayingSuite
from asyncq.testing.conformance.fetching import FetchingSuite
from asyncq.testing.conformance.holding import HoldingSuite
from asyncq.testing.conformance.severing import SeveringSuite
from asyncq.testing.conformance.suspecting import SuspectingSuite
from asyncq.transport import Transport


class SQLiteBackend(Backend):
    """Pairs on one file; each pair has a thread and connections of its own, as another process would."""

    capabilities = SQLiteTransport.capabilities

    def __init__(self, path: Path) -> None:
        self._path = path

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        database = SQLiteDatabase(self._path, synchronous="NORMAL")
        return (
            SQLiteTransport(database, namespace=namespace, queues=queues, dead_cap=dead_cap),
            SQLiteStore(database, namespace=namespace),
        )


class TestSQLiteTransport(TransportSuite):
    """The transport's promises."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> SQLiteBackend:
        return SQLiteBackend(tmp_path / "queue.db")


class PollingBackend(SQLiteBackend):
    """The same where there are no Unix sockets."""

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        database = SQLiteDatabase(self._path, synchronous="NORMAL")
        database.doorbell = PollingDoorbell(database.path)
        return (
            SQLiteTransport(database, namespace=namespace, queues=queues, dead_cap=dead_cap),
            SQLiteStore(database, namespace=namespace),
        )


class TestPolling(FetchingSuite, AwaitingSuite, DelayingSuite, SuspectingSuite, AbsolvingSuite):
    """The promises to consumers without sockets; listeners there are told to look, not what has ended."""

    test_who_runs_it_is_told = SeveringSuite.test_who_runs_it_is_told
    test_no_more_than_the_limit_run_at_once = HoldingSuite.test_no_more_than_the_limit_run_at_once
    test_a_freed_slot_calls_who_waits = HoldingSuite.test_a_freed_slot_calls_who_waits

    @pytest.fixture
    def backend(self, tmp_path: Path) -> PollingBackend:
        return PollingBackend(tmp_path / "queue.db")


class TestSQLiteStore(StoreSuite):
    """The store's promises."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> SQLiteBackend:
        return SQLiteBackend(tmp_path / "queue.db")
