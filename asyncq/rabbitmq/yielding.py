"""The yielding: suspects that came, but may not be run here just now, wait or are sent round."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Container
from typing import NamedTuple

from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.loans import round_ms
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.wire import remembered_facts

ROUNDS = 4
"""Rounds, of 0.3 s in all, after which nobody seems to be free for a suspect."""

MOST, HERE = 10, 0.5
"""How many of those wait here, so that one runs as soon as another has ended, and for how many seconds."""

LONGEST_MS = 5_000
"""For how long a suspect is away at the most, while somebody else may have become free for it."""


class _Waiting(NamedTuple):
    """A suspect that nobody has.

    Attributes:
        until: when it is sent round, by `time.monotonic()`.
    """

    arrival: Arrival
    until: float


class Yielding:
    """Sends round suspects that came here and were not to be lent; who gets them then may run one.

    Where many are on their way some wait here for their turn. They are nobody's meanwhile: the death of who runs one
    would count for all that it has.

    Args:
        returning: what sends them round.
        now_ms: the time.
    """

    def __init__(self, returning: Returning, now_ms: Callable[[], int]) -> None:
        self._returning = returning
        self._now_ms = now_ms
        self._waiting: deque[_Waiting] = deque()
        self._has_waiting = asyncio.Event()

    def put(self, arrival: Arrival) -> None:
        """Let one wait here, or send it round."""
        if len(self._waiting) < MOST and remembered_facts(arrival).yields >= ROUNDS:
            self._waiting.append(_Waiting(arrival, time.monotonic() + HERE))
            self._has_waiting.set()
        else:
            self._send_round(arrival)

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
        """Send round what has waited for long, until cancelled."""
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            while self._waiting:
                await asyncio.sleep(max(0.0, self._waiting[0].until - time.monotonic()))
                self._send_late()

    def _send_late(self) -> None:
        now = time.monotonic()
        while self._waiting and (self._waiting[0].until <= now or self._waiting[0].arrival.is_lost):
            self._send_round(self._waiting.popleft().arrival)

    def _send_round(self, arrival: Arrival) -> None:
        facts = remembered_facts(arrival)
        due_ms = self._now_ms() + round_ms(0, facts.yields, longest_ms=LONGEST_MS)
        self._returning.send_round(arrival, due_ms, facts._replace(yields=facts.yields + 1))
