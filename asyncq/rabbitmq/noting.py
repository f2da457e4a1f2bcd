"""The noting: a ledger is told what was published, and nobody who publishes waits for it."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Ledger
from asyncq.limits import LimitId, Numbers
from asyncq.store import Address, CallKey, Listener, Sighting, Store
from asyncq.transport import Envelope

logger = logging.getLogger("asyncq.rabbitmq")

AT_ONCE = 500
MOST = 10_000
"""Calls that may be unnoted before who publishes waits, and that are kept while the store does not answer."""

_AGAIN = Backoff(delay=0.1, max_delay=5.0)


class Noter:
    """Notes calls in the order in which they were published, and declares the limits that they need.

    While the store does not answer, the latest are kept: what is never noted runs all the same, and is known then.

    Args:
        ledger: where.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[Envelope] = []
        self._undeclared: dict[LimitId, Numbers] = {}
        self._published = 0
        self._seen_to = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wanted = asyncio.Event()
        self._asked = asyncio.Event()
        self._failures = 0
        self._random = Random()

    def note(self, envelopes: Sequence[Envelope]) -> None:
        """Note soon what the server has confirmed."""
        if envelopes:
            self._published += len(envelopes)
            self._waiting += envelopes
            self._wanted.set()

    def declare(self, numbers: Mapping[LimitId, Numbers]) -> None:
        """Say soon, and before the next note, what limits allow."""
        self._undeclared |= numbers
        self._wanted.set()

    async def room(self) -> None:
        """Wait while there is too much to note."""
        if len(self._waiting) > MOST:
            await self.tried()

    async def tried(self) -> None:
        """Wait until all is noted that was published here by now, or the store does not answer, asked once more."""
        if self._seen_to < self._published:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((self._published, future))
            self._asked.set()
            await future

    async def run(self) -> None:
        """Note until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._waiting or self._undeclared:
                    batch = self._waiting[:AT_ONCE]
                    del self._waiting[:AT_ONCE]
                    await self._note(batch)
        finally:
            self._release(self._published)  # nobody is to wait for what is not done any more

    async def _note(self, batch: list[Envelope]) -> None:
        try:
            if undeclared := dict(self._undeclared):
                await self._ledger.limits().declare(undeclared, is_consumer=False)
                self._undeclared = {id: each for id, each in self._undeclared.items() if id not in undeclared}
            if batch:
                await self._ledger.note(batch)
        except BrokerUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning("Calls are published that the store is not told of yet: %s", error)
            self._waiting = [*batch, *self._waiting][-MOST:]
            self._seen_to = self._published - len(self._waiting)
            self._release(self._published)
            self._asked.clear()
            with suppress(TimeoutError):  # the store may be there again for who asks it, and has not heard of these
                async with asyncio.timeout(_AGAIN.seconds(self._failures, self._random)):
                    await self._asked.wait()
        else:
            self._failures = 0
            self._seen_to += len(batch)
            self._release(self._seen_to)

    def _release(self, number: int) -> None:
        """Let those go on who wait for no more than so many."""
        while self._waiters and self._waiters[0][0] <= number:
            _, future = self._waiters.popleft()
            if not future.done():  # who waited may have been cancelled
                future.set_result(None)


class NotedStore(Store):
    """A store that is not asked for calls of this process before they are noted.

    Args:
        store: what remembers.
        noter: of the transport.
    """

    def __init__(self, store: Store, noter: Noter) -> None:
        self._store = store
        self._noter = noter

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        await self._noter.tried()
        return await self._store.look(keys, watcher=watcher)

    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        await self._store.unwatch(keys, watcher)

    async def listen(self, listener: Listener) -> Address:
        return await self._store.listen(listener)

    async def run(self) -> None:
        await self._store.run()

    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        await self._store.report(key, progress, reply=reply, ttl_ms=ttl_ms)
