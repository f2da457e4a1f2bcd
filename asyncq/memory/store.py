"""The store within one process."""

import asyncio
from collections.abc import Sequence

from asyncq.memory.home import Mailbox
from asyncq.memory.state import MemoryState
from asyncq.store import Address, CallKey, Listener, Sighting, Store


class MemoryStore(Store):
    """Remembers what the memory transport's settlements write.

    Args:
        state: where everything is kept.
        namespace: the transport's.
    """

    def __init__(self, state: MemoryState, *, namespace: str) -> None:
        self._state = state
        self._space = state.space(namespace)
        self._address: Address | None = None

    async def open(self) -> None:
        """Do nothing: there is nobody to connect to."""

    async def close(self) -> None:
        if self._address is not None:
            with self._state.lock:
                self._space.records.disconnect(self._address)
            self._address = None

    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        now_ms = self._state.now_ms()
        with self._state.lock:
            return [self._space.look(key.id, watcher, now_ms) for key in keys]

    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        with self._state.lock:
            for key in keys:
                self._space.records.unwatch(key.id, watcher)

    async def listen(self, listener: Listener) -> Address:
        address = self._address = self._state.new_address()
        with self._state.lock:
            self._space.records.connect(address, Mailbox(listener, self._state.lock))
        return address

    async def run(self) -> None:
        """Wait to be cancelled: notices need no carrier here, and none is ever missed."""
        await asyncio.Event().wait()

    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        with self._state.lock:
            self._space.report(key.id, progress, reply, ttl_ms, self._state.now_ms())
