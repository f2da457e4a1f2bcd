"""The backend: what a third party gives to the conformance suites."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from asyncq.ledger import Ledger
from asyncq.queues import Queue
from asyncq.store import Store
from asyncq.transport import Capabilities, Transport


class Backend(ABC):
    """What a third party gives: its transport and its store, on one server that the tests may fill.

    Attributes:
        capabilities: of the transport. What needs one that it lacks is skipped.
    """

    capabilities: Capabilities

    @abstractmethod
    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        """Return a pair with connections of its own, not opened yet: each stands for a process.

        Args:
            namespace: where both keep what they keep.
            queues: declared queues.
            dead_cap: dead letters that are kept of each queue; a backend that has no such bound passes over it.
        """

    async def published(self, transport: Transport) -> None:  # noqa: B027 - most have nothing to wait for
        """Return when everybody knows of what was published through this transport, if some time passes before."""

    async def pass_time(self, seconds: float) -> None:
        """Let so much of the server's time pass. A backend whose clock can be moved does that."""
        await asyncio.sleep(seconds)

    def now_ms(self) -> int:
        """Return what the server's clock should show."""
        return time.time_ns() // 1_000_000


class LedgerBackend(Backend):
    """What a third party gives whose ledger is tested, too."""

    @abstractmethod
    def make_ledger_pair(self, namespace: str) -> tuple[Ledger, Store]:
        """Return a ledger and its store with connections of their own, not opened yet: each stands for a process."""

    @abstractmethod
    async def age(self, namespace: str, seconds: float) -> None:
        """Let what a ledger keeps for a time be over as if so much had passed, hours or days.

        Leases, and what is due, may stay as they are.
        """
