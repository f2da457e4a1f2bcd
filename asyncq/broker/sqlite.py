"""The broker in one SQLite file: many processes of one machine, no server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from asyncq.broker.broker import Broker
from asyncq.findings import Finding
from asyncq.ledger import Ledger
from asyncq.sqlite import SQLiteDatabase, SQLiteLedger, SQLiteStore, SQLiteTransport
from asyncq.store import Store
from asyncq.transport import Transport


class SQLiteBroker(Broker):
    """A broker for development and small deployments.

    Args:
        path: the file; made when it is not there, in a folder that is.
        synchronous: "FULL": what was confirmed survives a power cut. "NORMAL": faster for single calls; a power cut,
            not a crash of a process, may lose the last ones.
        options: see `Broker`.
    """

    capabilities = SQLiteTransport.capabilities

    def __init__(
        self, path: str | Path = "asyncq.db", *, synchronous: Literal["FULL", "NORMAL"] = "FULL", **options: Any
    ) -> None:
        super().__init__(**options)
        self.path = Path(path).absolute()
        self._synchronous: Literal["FULL", "NORMAL"] = synchronous

    def describe(self) -> str:
        return f"sqlite:///{self.path}"

    def connect(self) -> tuple[Transport, Store]:
        database = self._database()
        return (
            SQLiteTransport(
                database, namespace=self.namespace, queues=list(self.queues.values()), dead_cap=self.dead_letter_cap
            ),
            SQLiteStore(database, namespace=self.namespace),
        )

    def connect_ledger(self) -> tuple[Ledger, Store]:
        database = self._database()
        return SQLiteLedger(database, namespace=self.namespace), SQLiteStore(database, namespace=self.namespace)

    async def _examine(self) -> Sequence[Finding]:
        database = self._database()
        await database.open(self)
        try:
            return database.check()
        finally:
            await database.close(self)

    def _database(self) -> SQLiteDatabase:
        return SQLiteDatabase(self.path, command_timeout=self.command_timeout, synchronous=self._synchronous)
