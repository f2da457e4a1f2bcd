"""The subscription of a process: what it asks of calls, and how it is told of them. Pushed, never polled for."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from asyncq.broker.batcher import Batcher
from asyncq.store import CallKey, Listener, Notice, Sighting, Store

SAFETY_SECONDS = 10.0
"""How often what is waited for is looked up although nothing was told: a notice can be lost with its connection."""


class Subscription:
    """Looks at calls and passes on what is told of them, whoever asks. Concurrent looks share a round trip.

    The order that loses no wake-up: subscribe, have it confirmed, then look, then wait. A call that was published
    with our address after the subscription needs no look.

    Args:
        store: what is asked, and tells.
        start: runs a doer for as long as the store is open.

    Attributes:
        address: what calls are published with so that their ends are told here; empty: `listen` was never called.
    """

    def __init__(self, store: Store, start: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.address = ""
        self._store = store
        self._start = start
        self._looks = Batcher[CallKey, Sighting | None](self._store.look)
        self._watches = Batcher[CallKey, Sighting | None](self.watch_all)
        self._listeners: list[Listener] = []
        self._starting = asyncio.Lock()
        self._is_looking = False

    def add(self, listener: Listener) -> None:
        """Deliver to this one, too."""
        self._listeners.append(listener)

    async def listen(self) -> None:
        """Begin to be told, unless that is done; on return it has taken effect."""
        if self.address:
            return
        async with self._starting:
            if not self.address:
                self._start_looking()
                self.address = await self._store.listen(Listener(self._notice, self._resync))
                self._start(self._store.run())

    async def look(self, key: CallKey) -> Sighting | None:
        """Return what is known of a call."""
        self._start_looking()
        return await self._looks.put(key)

    def watch(self, key: CallKey) -> Coroutine[Any, Any, Sighting | None]:
        """Return what is known of a call, and be told of its changes from then on. After `listen`."""
        return self._watches.put(key)

    async def watch_all(self, keys: Sequence[CallKey]) -> Sequence[Sighting | None]:
        """Do the same for several calls, in a round trip of their own."""
        return await self._store.look(keys, watcher=self.address)

    def _start_looking(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._start(self._looks.run())
            self._start(self._watches.run())

    def _notice(self, notices: Sequence[Notice]) -> None:
        for listener in self._listeners:
            listener.notice(notices)

    def _resync(self) -> None:
        for listener in self._listeners:
            listener.resync()
