"""The returning: what must not stay in a worker goes back, or on: what waits too long here, what came too early."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.wire import Facts, copy_of, due_of
from asyncq.transport import Envelope

CROWDED = 0.1
"""Seconds for which something waits here and nothing is fetched, until the server is told to send nothing more."""

STALE = 1.0
"""Seconds that something waits here before it goes back: somebody else may have time for it."""

_AGAIN = Backoff(delay=0.1, max_delay=2.0)


class _Early(NamedTuple):
    """What has come too early.

    Attributes:
        due_ms: when it is to come.
    """

    arrival: Arrival
    due_ms: int
    facts: Facts


class Returning:
    """Sends back, or on, what a consumer does not run: published and confirmed, then acknowledged.

    Never by a negative acknowledgement: the server counts those like deaths. While all slots are taken, several queues
    would bring more than there are slots for: so they are paused, until something is fetched again.

    Args:
        client: its connections.
        now_ms: the time.
        intakes: of the consumer.
        facts_of: what a message goes on saying.
        sent: called when what was to be sent on, or round, is not here any more.
        is_known: tells of what has waited whether it runs here already, so that it is not to be sent back. It has been
            taken care of then.
    """

    def __init__(
        self,
        client: RabbitClient,
        now_ms: Callable[[], int],
        intakes: Collection[Intake],
        facts_of: Callable[[Arrival], Facts],
        sent: Callable[[], None],
        is_known: Callable[[Arrival], bool],
    ) -> None:
        self._sending = Sending(client, now_ms)
        self._now_ms = now_ms
        self._intakes = intakes
        self._facts_of = facts_of
        self._sent = sent
        self._is_known = is_known
        self._is_sending = False
        self._early: list[_Early] = []
        self._has_work = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._is_fetching = False
        self._fetched_at = time.monotonic()
        self._random = Random()

    def begin_fetch(self) -> None:
        """Take note that something may be taken from the buffers now."""
        self._is_fetching = True

    def end_fetch(self) -> None:
        """Take note that nothing is taken until the next fetch."""
        self._is_fetching = False
        self._fetched_at = time.monotonic()

    def send_on(self, arrival: Arrival) -> None:
        """Send on what has come before it was due: its delay was longer than the ladder, or clocks differ."""
        self.send_round(arrival, due_of(arrival), self._facts_of(arrival))

    def send_round(self, arrival: Arrival, due_ms: int, facts: Facts) -> None:
        """Let a message come again at a time."""
        self._early.append(_Early(arrival, due_ms, facts))
        self._has_work.set()
        self._is_urgent.set()

    @property
    def is_sending(self) -> bool:
        """Whether something that is sent on, or round, is still here."""
        return bool(self._early) or self._is_sending

    def wake(self) -> None:
        """Look after the buffers: something has arrived."""
        self._has_work.set()

    async def run(self) -> None:
        """Look after the buffers while there is something in them, until cancelled."""
        failures = 0
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            try:
                await self._send_early()
                await self._relieve()
                failures = 0
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
                self._has_work.set()

    async def hand_back(self, arrivals: Sequence[Arrival]) -> None:
        """Publish messages to their queues again, and acknowledge them here. Raises BrokerUnavailable."""
        await self._send([(arrival, self._back(arrival)) for arrival in arrivals if not arrival.is_lost])

    async def _send_early(self) -> None:
        early, self._early = self._early, []
        self._is_urgent.clear()
        if not early:
            return
        self._is_sending = True
        try:
            await self._send([(each.arrival, self._on(each)) for each in early if not each.arrival.is_lost])
        except BrokerUnavailable:
            self._early += early
            raise
        finally:
            self._is_sending = False
        self._sent()

    async def _relieve(self) -> None:
        while any(intake.buffer for intake in self._left_alone()) and not self._early:
            with suppress(TimeoutError):
                async with asyncio.timeout(CROWDED):
                    await self._is_urgent.wait()
            now = time.monotonic()
            if not self._is_fetching and now - self._fetched_at >= CROWDED:
                for intake in self._left_alone():
                    intake.pause()
            for intake in self._left_alone():
                stale = [arrival for arrival in intake.take_older_than(now - STALE) if not self._is_known(arrival)]
                if stale:  # it has been let too much
                    intake.pause()
                try:
                    await self.hand_back(stale)
                except BrokerUnavailable:
                    intake.buffer.extendleft(reversed(stale))
                    raise

    def _left_alone(self) -> list[Intake]:
        """Return those whose buffers nobody else looks after."""
        return [intake for intake in self._intakes if not intake.is_sorted]

    async def _send(self, pairs: Sequence[tuple[Arrival, Parcel]]) -> None:
        refusals = await self._sending.send([parcel for _, parcel in pairs])
        for (arrival, _), refusal in zip(pairs, refusals, strict=True):
            if refusal is None:  # else it stays unacknowledged, until the channel ends
                arrival.acknowledge()

    def _back(self, arrival: Arrival) -> Parcel:
        return self._sending.returned(copy_of(arrival), facts=self._facts_of(arrival))

    def _on(self, early: _Early) -> Parcel:
        id, queue, body, priority, *_ = copy_of(early.arrival)
        return self._sending.call(Envelope(id, queue, body, priority, early.due_ms), facts=early.facts)
