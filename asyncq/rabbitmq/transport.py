"""The transport on RabbitMQ."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from weakref import WeakSet

from asyncq.clock import SystemClock
from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.ledger import Copy
from asyncq.queues import Queue
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.consumer import RabbitConsumer
from asyncq.rabbitmq.fetching import FetchingConsumer
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.sending import Sending
from asyncq.transport import (
    Capabilities,
    Counts,
    DeadLetter,
    Envelope,
    Member,
    Outcome,
    Receipt,
    Revival,
    Revived,
    Transport,
)

LOOKS, FLUSH_SECONDS = 3, 0.5
"""Bounds of what it takes to count messages that are on their way."""


class RabbitTransport(Transport):
    """Moves messages through a RabbitMQ server, and remembers nothing of them.

    Args:
        client: its connections.
        queues: declared queues.
        dead_cap: dead letters that are kept of each queue, and a tenth more at times; the oldest make room.
    """

    capabilities = Capabilities(
        is_shared=True,
        has_memory=False,
        keeps_place=False,
        has_priorities=False,
        counts_running=False,
        shows_line=False,
        has_uniqueness=False,
        reschedules=False,
        remedy='RabbitMQBroker(url, store="redis://...")',
    )

    def __init__(self, client: RabbitClient, *, queues: Sequence[Queue] = (), dead_cap: int = 10_000) -> None:
        self._client = client
        self._clock = SystemClock()
        self._sending = Sending(client, self.now_ms)
        self._letters = LetterBox(
            client, self.now_ms, cap=dead_cap, reopen=self._reopen, placed=self._placed, close=self._close_again
        )
        self._queues = {queue.name for queue in queues}
        self._max_lengths = {queue.name: queue.max_length for queue in queues if queue.max_length}
        self._consumers: WeakSet[FetchingConsumer] = WeakSet()

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    def now_ms(self) -> int:
        """Return the time by this machine's clock: the server does not tell its own."""
        return self._clock.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        self._queues.update(envelope.queue for envelope in envelopes)
        receipts: list[Receipt] = [None] * len(envelopes)
        if self._max_lengths:
            receipts = list(await self._refusals(envelopes))
        accepted = [index for index, receipt in enumerate(receipts) if receipt is None]
        refusals = await self._sending.send([self._sending.call(envelopes[index]) for index in accepted])
        for index, refusal in zip(accepted, refusals, strict=True):
            receipts[index] = refusal
        return receipts

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> FetchingConsumer:
        for queue in queues:
            await self._client.provide(queue)
        self._queues.update(queues)
        consumer = RabbitConsumer(self._client, name, queues, self.now_ms, self._letters)
        self._consumers.add(consumer)
        return consumer

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        raise self.capabilities.without_memory(f"Call {id!r} cannot be withdrawn")

    async def release(self, names: Sequence[str]) -> int:
        return 0

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        """Return how many the server has to send, with what it has sent ahead to consumers of this process."""
        names = self._client.names
        return [
            Counts(
                ready=await self._ready(queue),
                scheduled=0,
                running=0,
                dead=await self._client.count(names.dead_letters(queue)),
            )
            for queue in queues
        ]

    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        """Return nothing: the server cannot show a message without lending it."""
        return [()] * len(queues)

    async def known_queues(self) -> Sequence[str]:
        """Return the queues that were declared, published to or consumed here: the server does not tell of others."""
        return sorted(self._queues)

    async def members(self) -> Sequence[Member]:
        return ()

    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        return await self._letters.newest(queue, limit, before)

    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        return await self._letters.find(queue, ids)

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        return await self._letters.drop(letters)

    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        return await self._letters.revive(revivals)

    async def _reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        """Let all of them run: nobody knows of another call that has the id of one."""
        return [0] * len(revivals)

    async def _placed(self, copies: Sequence[Copy]) -> None:
        """Take note that letters were published again."""

    async def _close_again(self, revival: Revival) -> bool:
        """Let one stay dead that was refused: nobody was told that it would run."""
        return True

    async def _ready(self, queue: str) -> int:
        """Return how many messages are ready, there or here. Looks again while some are on their way between."""
        server_queue = self._client.names.queue(queue)
        count = 0
        for _ in range(LOOKS):
            intakes = [intake for consumer in self._consumers if (intake := consumer.intake(queue)) is not None]
            arrivals = sum(intake.arrivals for intake in intakes)
            count = await self._client.count(server_queue)
            if intakes:
                with suppress(BrokerUnavailable):
                    await asyncio.wait([intake.flush() for intake in intakes], timeout=FLUSH_SECONDS)
            count += sum(len(intake.buffer) for intake in intakes)
            if arrivals == sum(intake.arrivals for intake in intakes):
                break
        return count

    async def _waiting(self, queue: str) -> int:
        """Return how many messages wait, as far as is known."""
        return await self._ready(queue)

    async def _refusals(self, envelopes: Sequence[Envelope]) -> Sequence[PublishRefused | None]:
        """Refuse what its queue has no room for. As an argument of the queue, a bound would refuse retries, too."""
        refusals: list[PublishRefused | None] = [None] * len(envelopes)
        room: dict[str, int] = {}
        for index, (_, queue, *_) in enumerate(envelopes):
            longest = self._max_lengths.get(queue)
            if longest is not None:
                if queue not in room:
                    room[queue] = longest - await self._waiting(queue)
                room[queue] -= 1
                if room[queue] < 0:
                    refusals[index] = PublishRefused(f"Queue {queue!r} is full: {longest} messages wait (max_length).")
        return refusals
