"""Transport and store in one local SQLite file, for any number of processes and no server."""

from asyncq.sqlite.database import SQLiteDatabase
from asyncq.sqlite.ledger import SQLiteLedger
from asyncq.sqlite.store import SQLiteStore
from asyncq.sqlite.transport import SQLiteTransport

__all__ = ["SQLiteDatabase", "SQLiteLedger", "SQLiteStore", "SQLiteTransport"]
