"""The state: all that the memory broker holds, whichever event loop uses it."""

import threading
from collections.abc import Callable
from itertools import count
from typing import Protocol, runtime_checkable

from asyncq.clock import Clock, SystemClock
from asyncq.memory.book import Book
from asyncq.memory.space import Space


@runtime_checkable
class MovedClock(Protocol):
    """A clock that stands still until somebody moves it, and tells."""

    def now_ms(self) -> int:
        """Return the time of day."""
        ...

    def listen(self, moved: Callable[[], None]) -> None:
        """Call back after each move."""
        ...


class MemoryState:
    """The data of any number of memory transports and stores, in one or more namespaces.

    It outlives event loops: a broker that is opened again on a new one finds everything as it was.

    Args:
        clock: tells due times, leases and expiry; None: the machine's.

    Attributes:
        lock: held for each transition, because a lease is used from another thread. Never held across an await.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.lock = threading.Lock()
        self._clock = clock or SystemClock()
        self._spaces: dict[str, Space] = {}
        self._books: dict[str, Book] = {}
        self._addresses = count(1)
        self.is_moved_by_hand = isinstance(self._clock, MovedClock)
        if isinstance(self._clock, MovedClock):
            self._clock.listen(self._ring)

    def now_ms(self) -> int:
        """Return the time by the state's clock."""
        return self._clock.now_ms()

    def space(self, namespace: str) -> Space:
        """Return what is kept under a namespace."""
        with self.lock:
            return self._spaces.setdefault(namespace, Space())

    def book(self, namespace: str) -> Book:
        """Return what a ledger keeps under a namespace."""
        space = self.space(namespace)
        with self.lock:
            return self._books.setdefault(namespace, Book(space))

    def new_address(self) -> str:
        """Return an address that nobody has."""
        return f"memory-{next(self._addresses)}"

    def _ring(self) -> None:
        with self.lock:
            for space in self._spaces.values():
                space.ring()
