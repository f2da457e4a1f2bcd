"""The yielding: suspects that were lent, but may not be run here just now, are handed back and wait."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Container
from contextlib import suppress
from random import Random
from typing import NamedTuple

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Holder
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.loans import round_ms
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.wire import remembered_facts
from asyncq.transport import Delivery, Return

ROUNDS = 4
"""Rounds, of 0.3 s in all, after which nobody seems to be free for a suspect."""

MOST, HERE = 10, 0.5
"""How many of those wait here, so that one runs as soon as another has ended, and for how many seconds."""

LONGEST_MS = 5_000
"""For how long a suspect is away at the most, while somebody else may have become free for it."""

_AGAIN = Backoff(delay=0.1, max_delay=2.0)


class _Waiting(NamedTuple):
    """A suspect that nobody has.

    Attributes:
        until: when it is sent round, by `time.monotonic()`.
    """

    arrival: Arrival
    until: float


class Yielding:
    """Hands suspects back to the ledger, and sends them round; who gets them then may run one.

    Where many are on their way some wait here for their turn.

    Not lent, as the death of who runs one would count for all that wait with it.

    Args:
        holder: to whom they were lent.
        returning: what sends them round.
        now_ms: the time.
        told: called when some wait here.
    """

    def __init__(
        self, holder: Holder, returning: Returning, now_ms: Callable[[], int], told: Callable[[], None]
    ) -> None:
        self._holder = holder
        self._returning = returning
        self._now_ms = now_ms
        self._told = told
        self._suspects: list[tuple[Arrival, Delivery]] = []
        self._waiting: deque[_Waiting] = deque()
        self._wanted = asyncio.Event()
        self._random = Random()

    def put(self, arrival: Arrival, delivery: Delivery) -> None:
        """Hand one back soon."""
        self._suspects.append((arrival, delivery))
        self._wanted.set()

    def take(self, queues: Container[str]) -> Arrival | None:
        """Return the one of these queues that has waited here for longest; None: there is none."""
        for waiting in self._waiting:
            if waiting.arrival.queue in queues and not waiting.arrival.is_lost:
                self._waiting.remove(waiting)
                return waiting.arrival
        return None

    def take_all(self) -> list[Arrival]:
        """Return all that wait here."""
        arrivals = [waiting.arrival for waiting in self._waiting]
        self._waiting.clear()
        return arrivals

    async def run(self) -> None:
        """Hand back, and send round what has waited for long, until cancelled."""
        failures = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HERE / 2 if self._waiting else None):
                    await self._wanted.wait()
            self._wanted.clear()
            self._send_late()
            suspects = list(self._suspects)
            if not suspects:
                continue
            try:
                await self._holder.settle([Return(delivery) for _, delivery in suspects])
                failures = 0
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
                self._wanted.set()
                continue
            del self._suspects[: len(suspects)]
            for arrival, _ in suspects:
                self._keep(arrival)
            self._told()

    def _keep(self, arrival: Arrival) -> None:
        if len(self._waiting) < MOST and remembered_facts(arrival).yields >= ROUNDS:
            self._waiting.append(_Waiting(arrival, time.monotonic() + HERE))
        else:
            self._send_round(arrival)

    def _send_late(self) -> None:
        now = time.monotonic()
        while self._waiting and (self._waiting[0].until <= now or self._waiting[0].arrival.is_lost):
            self._send_round(self._waiting.popleft().arrival)

    def _send_round(self, arrival: Arrival) -> None:
        facts = remembered_facts(arrival)
        due_ms = self._now_ms() + round_ms(0, facts.yields, longest_ms=LONGEST_MS)
        self._returning.send_round(arrival, due_ms, facts._replace(yields=facts.yields + 1))
