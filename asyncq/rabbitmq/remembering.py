"""The transport on RabbitMQ whose calls a ledger remembers."""

import asyncio
from collections.abc import Mapping, Sequence

from asyncq.ledger import Copy, Ledger
from asyncq.limits import LimitId, LimitOffice, Numbers
from asyncq.queues import Queue
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.issuing import Issuing
from asyncq.rabbitmq.lending import LedgerConsumer
from asyncq.rabbitmq.noting import Noter
from asyncq.rabbitmq.placing import Placing
from asyncq.rabbitmq.timetable import LedgerTimetable
from asyncq.rabbitmq.transport import RabbitTransport
from asyncq.rabbitmq.wire import envelope_in
from asyncq.transport import Capabilities, Counts, Envelope, KeyOwner, Member, Outcome, Receipt, Revival, Timetable

CONSUMER_TIMEOUT = 1_800.0
"""The server's default."""

REFUSED_MS = 3_600_000
"""How long the result of a dead call is kept whose retry was refused: what its task had said is not known any more."""


class RememberingTransport(RabbitTransport):
    """Moves messages through a RabbitMQ server, and knows of their calls from a ledger.

    Args:
        client: its connections.
        ledger: who knows.
        noter: what tells it.
        queues: declared queues.
        dead_cap: dead letters that are kept of each queue, and a tenth more at times; the oldest make room.
        consumer_timeout: seconds, as the server has it.
    """

    capabilities = Capabilities(
        is_shared=True,
        keeps_place=False,
        has_priorities=False,
        counts_calls=False,
        shows_line=False,
        has_limits=True,
        has_groups=True,
        has_schedules=True,
    )

    def __init__(
        self,
        client: RabbitClient,
        ledger: Ledger,
        noter: Noter,
        *,
        queues: Sequence[Queue] = (),
        dead_cap: int = 10_000,
        consumer_timeout: float = CONSUMER_TIMEOUT,
    ) -> None:
        self._ledger = ledger
        self._noter = noter
        super().__init__(client, queues=queues, dead_cap=dead_cap)
        self._patience = consumer_timeout / 2
        self._placing = Placing(ledger, self._sending)
        self._issuing = Issuing(ledger, noter, self._sending, self._placing, command_timeout=client.command_timeout)

    async def open(self) -> None:
        await self._ledger.open()
        try:
            await super().open()
        except BaseException:
            await self._ledger.close()
            raise
        self._client.start(self._noter.run())

    async def close(self) -> None:
        try:
            await self._noter.tried()
            await super().close()
        finally:
            await self._ledger.close()

    def now_ms(self) -> int:
        """Return the time by the store's clock: RabbitMQ does not tell its own."""
        return self._ledger.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        self._queues.update(envelope.queue for envelope in envelopes)
        return await self._issuing.issue(envelopes, self._refusals if self._max_lengths else None)

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> LedgerConsumer:
        for queue in queues:
            await self._client.provide(queue)
        self._queues.update(queues)
        consumer = LedgerConsumer(
            self._client,
            await self._ledger.holder(name, queues, lease=lease),
            queues,
            self.now_ms,
            sending=self._sending,
            issuing=self._issuing,
            letters=self._letters,
            placing=self._placing,
            patience=self._patience,
        )
        self._consumers.add(consumer)
        return consumer

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        await self._noter.tried()
        return await self._ledger.withdraw(id, queue, outcome, even_running=even_running)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, expires_ms: int = 0
    ) -> bool:
        """Give a call that waits another body and another time: its next generation is published with its delay.

        Raises:
            BrokerUnavailable: the outcome is unknown; what the ledger has changed is published by a worker.
        """
        await self._noter.tried()
        envelope = envelope_in(id, body)
        priority = 0 if envelope is None else envelope.priority
        copy = await self._ledger.reschedule(id, queue, read, body, due_ms, priority=priority, expires_ms=expires_ms)
        if copy is not None:
            if copy.terms is None and envelope is not None:  # it was not noted
                copy = copy._replace(terms=envelope.terms)
            await self._placing.place([copy])
        return copy is not None

    def limits(self) -> LimitOffice:
        return self._ledger.limits()

    async def declare_limits(self, numbers: Mapping[LimitId, Numbers]) -> None:
        self._noter.declare(numbers)

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        await self._noter.tried()
        return await self._ledger.unique_keys(prefix, limit=limit)

    async def clear_unique(self, key: str) -> bool:
        await self._noter.tried()
        return await self._ledger.clear_unique(key)

    async def release(self, names: Sequence[str]) -> int:
        count = await self._ledger.release(names)
        if count:
            await self._placing.place_all()
        return count

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        """Return how many the server has to send, and how many the ledger knows to be scheduled, to run, or to wait.

        What was withdrawn counts as ready until a consumer gets it, as does a second copy.
        """
        await self._noter.tried()
        scheduled, running = await self._ledger.scheduled(queues), await self._ledger.running(queues)
        parked = await self._ledger.parked(queues)
        there = await super().counts(queues)
        return [
            counts._replace(scheduled=later, running=lent, waiting=waiting)
            for counts, later, lent, waiting in zip(there, scheduled, running, parked, strict=True)
        ]

    async def known_queues(self) -> Sequence[str]:
        return sorted(self._queues.union(await self._ledger.known_queues()))

    def timetable(self) -> Timetable:
        return LedgerTimetable(self._ledger.timetable(), self._issuing, self._refusals if self._max_lengths else None)

    async def members(self) -> Sequence[Member]:
        return await self._ledger.members()

    async def _reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        return await self._ledger.reopen(revivals)

    async def _placed(self, copies: Sequence[Copy]) -> None:
        await self._ledger.placed(copies)

    async def _close_again(self, revival: Revival) -> bool:
        letter = revival.letter
        return await self._ledger.withdraw(letter.id, letter.queue, Outcome(letter.record, ttl_ms=REFUSED_MS))

    async def _waiting(self, queue: str) -> int:
        await self._noter.tried()
        (scheduled,), (parked,) = await asyncio.gather(self._ledger.scheduled([queue]), self._ledger.parked([queue]))
        return await self._ready(queue) + scheduled + parked
