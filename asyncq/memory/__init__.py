"""Memory: a queue within one process, with every promise of the others but surviving it."""

from asyncq.memory.ledger import MemoryLedger
from asyncq.memory.state import MemoryState
from asyncq.memory.store import MemoryStore
from asyncq.memory.transport import MemoryTransport

__all__ = ["MemoryLedger", "MemoryState", "MemoryStore", "MemoryTransport"]
