"""The broker in memory: one process, no server, the same promises while the process lives."""

from typing import Any

from asyncq.broker.broker import Broker
from asyncq.clock import Clock, SystemClock
from asyncq.ledger import Ledger
from asyncq.memory import MemoryLedger, MemoryState, MemoryStore, MemoryTransport
from asyncq.store import Store
from asyncq.transport import Transport


class MemoryBroker(Broker):
    """A broker for tests and for programs of one process. Its messages outlive the event loop, not the process.

    Args:
        clock: what tells the time; tests may pass one that they move.
        options: see `Broker`.
    """

    capabilities = MemoryTransport.capabilities

    def __init__(self, *, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._clock = clock or SystemClock()
        self._state = MemoryState(self._clock)

    def describe(self) -> str:
        return "memory://"

    def connect(self) -> tuple[Transport, Store]:
        queues = list(self.queues.values())
        return (
            MemoryTransport(self._state, namespace=self.namespace, queues=queues, dead_cap=self.dead_letter_cap),
            MemoryStore(self._state, namespace=self.namespace),
        )

    def connect_ledger(self) -> tuple[Ledger, Store]:
        state, namespace = self._state, self.namespace
        return MemoryLedger(state, namespace=namespace), MemoryStore(state, namespace=namespace)
