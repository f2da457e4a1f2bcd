"""The onlooker: what a process of a test sees through its store, and is told."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol, TypeVar

from asyncq.errors import LeaseLost
from asyncq.store import Address, CallKey, Listener, Notice, Sighting, Store
from asyncq.testing.conformance.leasethread import LeaseThread
from asyncq.transport import Lease

T = TypeVar("T")

QUEUE = "mail"


class Until(Protocol):
    """Lets time pass until a probe returns something true."""

    async def __call__(self, probe: Callable[[], Awaitable[T]], wanted: str) -> T:
        """Return what the probe has returned."""
        ...


class Leased(Protocol):
    """Somebody with a lease."""

    def lease(self) -> Lease:
        """Return it."""
        ...


class Onlooker:
    """A process with a store, in whose hands consumers and leases are kept up until it is closed.

    Attributes:
        address: where it listens; empty before `listen`.
        notices: what it was told, by id.
        resyncs: how often it was told to look everything up.
        severed: tokens of deliveries that its consumers were told they have lost.
    """

    def __init__(self, until: Until, store: Store) -> None:
        self.store = store
        self.address: Address = ""
        self.notices: dict[str, list[Notice]] = defaultdict(list)
        self.resyncs = 0
        self.severed: list[str] = []
        self._until = until
        self._exits = AsyncExitStack()

    async def close(self) -> None:
        """Stop what runs, and close what was opened; consumers are left as they are."""
        await self._exits.aclose()

    async def lease_of(self, consumer: Leased) -> LeaseThread:
        """Return the consumer's lease, on a thread of its own."""
        thread = LeaseThread(consumer.lease())
        self._exits.push_async_callback(thread.close)
        return thread

    async def listen(self) -> Address:
        """Take what the store tells, and return the address."""
        self.address = await self.store.listen(Listener(self._take, self._resync))
        self._keep_up(self.store.run())
        return self.address

    async def look(self, id: str, queue: str | None = QUEUE, *, watcher: Address = "") -> Sighting | None:
        """Return what is known of one call."""
        (sighting,) = await self.store.look([CallKey(id, queue)], watcher=watcher)
        return sighting

    async def end_of(self, id: str) -> Notice:
        """Return the notice that the call has ended."""

        async def find() -> list[Notice]:
            return [notice for notice in self.notices[id] if notice.is_over]

        return (await self._until(find, f"{id!r} to be told as ended"))[0]

    async def progress_of(self, id: str, progress: bytes) -> None:
        """Wait until this progress is told."""

        async def is_told() -> bool:
            return any(notice.progress == progress for notice in self.notices[id])

        await self._until(is_told, f"the progress {progress!r} of {id!r} to be told")

    async def loses(self, token: str) -> None:
        """Wait until it is told that one of its consumers has lost this delivery, and no other."""

        async def is_told() -> bool:
            return bool(self.severed)

        await self._until(is_told, "the loss of a delivery to be told")
        assert set(self.severed) == {token}

    def _keep_up(self, running: Coroutine[Any, Any, None]) -> None:
        self._exits.push_async_callback(_end, asyncio.create_task(running))

    def _take(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self.notices[notice.id].append(notice)

    def _resync(self) -> None:
        self.resyncs += 1


async def _end(upkeep: asyncio.Task[None]) -> None:
    upkeep.cancel()
    with suppress(asyncio.CancelledError, LeaseLost):  # a consumer that was reclaimed has nothing left to keep up
        await upkeep
