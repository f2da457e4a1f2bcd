"""The returning: what must not stay in a worker goes back, or on: what waits too long here, what came too early."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.wire import crashes_of, due_of
from asyncq.transport import Envelope

CROWDED = 0.1
"""Seconds for which something waits here and nothing is fetched, until the server is told to send nothing more."""

STALE = 1.0
"""Seconds that something waits here before it goes back: somebody else may have time for it."""

_AGAIN = Backoff(delay=0.1, max_delay=2.0)


class Returning:
    """Sends back, or on, what a consumer does not run: published and confirmed, then acknowledged.

    Never by a negative acknowledgement: the server counts those like deaths. While all slots are taken, several queues
    would bring more than there are slots for: so they are paused, until something is fetched again.
    """

    def __init__(self, client: RabbitClient, now_ms: Callable[[], int], intakes: Collection[Intake]) -> None:
        self._wire = client.wire
        self._sending = Sending(client, now_ms)
        self._now_ms = now_ms
        self._intakes = intakes
        self._early: list[Arrival] = []
        self._has_work = asyncio.Event()
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
        self._early.append(arrival)
        self._has_work.set()

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
        await self._send(arrivals, self._back)

    async def _send_early(self) -> None:
        early, self._early = self._early, []
        try:
            await self._send(early, self._on)
        except BrokerUnavailable:
            self._early += early
            raise

    async def _relieve(self) -> None:
        while any(intake.buffer for intake in self._intakes) and not self._early:
            await asyncio.sleep(CROWDED)
            now = time.monotonic()
            if not self._is_fetching and now - self._fetched_at >= CROWDED:
                for intake in self._intakes:
                    intake.pause()
            for intake in self._intakes:
                stale = intake.take_older_than(now - STALE)
                if stale:  # it has been let too much
                    intake.pause()
                try:
                    await self.hand_back(stale)
                except BrokerUnavailable:
                    intake.buffer.extendleft(reversed(stale))
                    raise

    async def _send(self, arrivals: Sequence[Arrival], parcel_of: Callable[[Arrival], Parcel]) -> None:
        mine = [arrival for arrival in arrivals if not arrival.is_lost]
        refusals = await self._sending.send([parcel_of(arrival) for arrival in mine])
        for arrival, refusal in zip(mine, refusals, strict=True):
            if refusal is None:  # else it stays unacknowledged, until the channel ends
                arrival.acknowledge()

    def _back(self, arrival: Arrival) -> Parcel:
        crashes = crashes_of(arrival)
        return self._sending.returned(self._wire.delivery(arrival, "", crashes), crashes=crashes)

    def _on(self, arrival: Arrival) -> Parcel:
        crashes = crashes_of(arrival)
        id, queue, body, priority, *_ = self._wire.delivery(arrival, "", crashes)
        return self._sending.call(Envelope(id, queue, body, priority, due_of(arrival)), crashes=crashes)
