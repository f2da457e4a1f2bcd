"""The stage of a conformance test: processes on one server, and time that passes."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

from asyncq.queues import Queue
from asyncq.store import Sighting, Store
from asyncq.testing.conformance.backend import Backend
from asyncq.testing.conformance.leasethread import LeaseThread
from asyncq.testing.conformance.onlooker import QUEUE, Onlooker
from asyncq.transport import Consumer, Counts, Delivery, Done, Envelope, Outcome, Receipt, Settlement, Transport

T = TypeVar("T")

OTHER_QUEUE = "reports.slow"
LIMITS = {QUEUE: 10_000}
MINUTE_MS = 60_000
RECORD = b'{"status":"succeeded"}'
KEPT = Outcome(RECORD, ttl_ms=MINUTE_MS)
NOT_KEPT = Outcome(None)

DEADLINE = 10.0
"""Real seconds that something which has to happen may take."""

SOON = 3.0
"""Seconds by the server's clock within which what is pushed arrives, on a busy machine."""

LEASE = 0.4
"""Seconds of a lease that a test lets run out."""

A_MOMENT = 0.05
"""Seconds in which a fetch that should wait shows whether it does."""

_STEP = 0.01


class Stage:
    """One test's processes, in a namespace of their own."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.namespace = f"test-{secrets.token_hex(8)}"
        self._exits = AsyncExitStack()
        self._names = iter(range(1_000_000))

    async def process(
        self, *, queues: Sequence[Queue] = (), dead_cap: int = 10_000, namespace: str | None = None
    ) -> "Process":
        """Return an opened pair that stands for a process."""
        transport, store = self.backend.make_pair(namespace or self.namespace, queues=queues, dead_cap=dead_cap)
        process = Process(self, transport, store)
        self._exits.push_async_callback(process.close)
        await process.open()
        return process

    def new_name(self) -> str:
        """Return a consumer's name that nobody has."""
        return f"worker-{next(self._names)}"

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run beside the test, which looks at the result, until it ends."""
        task = asyncio.create_task(coroutine)
        self._exits.push_async_callback(_cancel, task)
        return task

    async def until(self, probe: Callable[[], Awaitable[T]], wanted: str) -> T:
        """Let time pass until the probe returns something true, and return that."""
        end = time.monotonic() + DEADLINE
        while not (found := await probe()):
            assert time.monotonic() < end, f"{wanted}: not within {DEADLINE:g} s; last seen: {found!r}"
            await self.backend.pass_time(_STEP)
        return found

    async def outcome(self, task: asyncio.Task[T], wanted: str) -> T:
        """Let time pass until the task has ended, and return its result."""

        async def is_done() -> bool:
            return task.done()

        await self.until(is_done, wanted)
        return task.result()

    async def fetch(
        self, consumer: Consumer, count: int, limits: Mapping[str, int] = LIMITS, *, suspects: int | None = None
    ) -> list[Delivery]:
        """Fetch so many messages, however often that takes; so many suspects each time, or any number."""
        fetching = self.start(_fetch_all(consumer, count, limits, suspects))
        return await self.outcome(fetching, f"{count} messages to fetch")

    async def fetch_ids(self, consumer: Consumer, count: int, limits: Mapping[str, int] = LIMITS) -> list[str]:
        """Fetch so many messages and return their ids."""
        return [delivery.id for delivery in await self.fetch(consumer, count, limits)]

    async def die(self, process: "Process", consumer: Consumer) -> None:
        """Let the consumer die of what it holds, in the way that the transport sees at once; the process with it."""
        if process.remembers:
            await process.transport.release([consumer.name])
        await process.close()

    async def lapse(self, name: str, reclaimer: LeaseThread) -> int:
        """Let the lease of a consumer run out, and reclaim it. Returns how many messages it held."""

        async def reclaim() -> Mapping[str, int]:
            assert await reclaimer.renew()
            reclaimed = await reclaimer.reclaim()
            return reclaimed if name in reclaimed else {}

        return (await self.until(reclaim, f"{name}'s lease to run out and be reclaimed"))[name]

    async def close(self) -> None:
        """Stop and close all that the test has started."""
        await self._exits.aclose()


class Process(Onlooker):
    """A pair with its own connections, as another process would have it."""

    def __init__(self, stage: Stage, transport: Transport, store: Store) -> None:
        super().__init__(stage.until, store)
        self.stage = stage
        self.transport = transport

    @property
    def remembers(self) -> bool:
        """Whether calls can be looked at."""
        return self.transport.capabilities.has_memory

    async def open(self) -> None:
        """Open store and transport, as a broker does."""
        await self.store.open()
        self._exits.push_async_callback(self.store.close)
        await self.transport.open()
        self._exits.push_async_callback(self.transport.close)

    async def publish(self, *envelopes: Envelope) -> Sequence[Receipt]:
        """Publish in one batch."""
        receipts = await self.transport.publish(envelopes)
        await self.stage.backend.published(self.transport)
        return receipts

    async def publish_ids(self, *ids: str, queue: str = QUEUE, priority: int = 0, due_ms: int = 0) -> None:
        """Publish a batch that has to be accepted, each message's body made of its id."""
        receipts = await self.publish(*(Envelope(id, queue, body_of(id), priority, due_ms) for id in ids))
        assert list(receipts) == [None] * len(ids)

    async def consumer(
        self, name: str | None = None, queues: Sequence[str] = (QUEUE, OTHER_QUEUE), *, lease: float = 60.0
    ) -> Consumer:
        """Return a new consumer whose upkeep runs beside the test."""
        consumer = await self.transport.consumer(name or self.stage.new_name(), queues, lease=lease)
        self._keep_up(consumer.run(self.severed.extend))
        return consumer

    async def counts(self, queue: str = QUEUE) -> Counts:
        """Return the counts of one queue."""
        (counts,) = await self.transport.counts([queue])
        return counts

    def counted(self, *, ready: int = 0, scheduled: int = 0, running: int = 0, dead: int = 0) -> Counts:
        """Return these counts as far as the transport tells them."""
        counts = Counts(ready, scheduled, running, dead)
        return counts if self.transport.capabilities.counts_running else counts._replace(scheduled=0, running=0)

    async def expect_counts(self, *, ready: int = 0, scheduled: int = 0, running: int = 0, dead: int = 0) -> None:
        """Assert how the queue stands, as far as the transport counts calls: messages that are ready may be more."""
        counts = await self.counts()
        if not self.transport.capabilities.counts_calls:
            counts = counts._replace(ready=ready)
        assert counts == self.counted(ready=ready, scheduled=scheduled, running=running, dead=dead)

    def in_line(self, found: Iterable[Any]) -> list[Any]:
        """Return what stands in this order, in any order where the transport keeps no places: sorted then."""
        return list(found) if self.transport.capabilities.keeps_place else sorted(found)

    async def standing(self, id: str) -> tuple[Counts, Sighting | None]:
        """Return the counts, and what is known of a call where anything is."""
        return await self.counts(), await self.look(id) if self.remembers else None


class Settler(Protocol):
    """A consumer, as far as it settles."""

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End deliveries."""
        ...


async def settle_one(consumer: Settler, settlement: Settlement) -> bool:
    """Settle one delivery."""
    (has_effect,) = await consumer.settle([settlement])
    return has_effect


async def finish(consumer: Settler, deliveries: Iterable[Delivery], outcome: Outcome = KEPT) -> None:
    """End deliveries that have to be the consumer's."""
    settlements = [Done(delivery, outcome) for delivery in deliveries]
    assert list(await consumer.settle(settlements)) == [True] * len(settlements)


def body_of(id: str) -> bytes:
    """Return the body that `Process.publish_ids` gives a message."""
    return f"body of {id}".encode()


async def _fetch_all(consumer: Consumer, count: int, limits: Mapping[str, int], suspects: int | None) -> list[Delivery]:
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        left = count - len(deliveries)
        deliveries += await consumer.fetch(limits, left, suspects=left if suspects is None else suspects)
    return deliveries


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # the test has seen it where it matters
