"""The yielding: suspects that were lent, but may not be run here just now, wait elsewhere."""

import asyncio
from collections.abc import Callable
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Holder
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.loans import round_ms
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.wire import remembered_facts
from asyncq.transport import Delivery, Return

LONGEST_MS = 5_000
"""For how long a suspect is away at the most, while somebody else may have become free for it."""

_AGAIN = Backoff(delay=0.1, max_delay=2.0)


class Yielding:
    """Hands suspects back to the ledger, and sends them round: who gets them then may run one.

    Args:
        holder: to whom they were lent.
        returning: what sends them round.
        now_ms: the time.
    """

    def __init__(self, holder: Holder, returning: Returning, now_ms: Callable[[], int]) -> None:
        self._holder = holder
        self._returning = returning
        self._now_ms = now_ms
        self._suspects: list[tuple[Arrival, Delivery]] = []
        self._wanted = asyncio.Event()
        self._random = Random()

    def put(self, arrival: Arrival, delivery: Delivery) -> None:
        """Hand one back soon."""
        self._suspects.append((arrival, delivery))
        self._wanted.set()

    async def run(self) -> None:
        """Hand back until cancelled."""
        failures = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            suspects = list(self._suspects)
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
                facts = remembered_facts(arrival)
                due_ms = self._now_ms() + round_ms(0, facts.rounds, longest_ms=LONGEST_MS)
                self._returning.send_round(arrival, due_ms, facts._replace(rounds=facts.rounds + 1))
