"""The settler: ends deliveries in batches, in the order in which their runs ended."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.transport import SUSPECT_CRASHES, Consumer, Settlement

logger = logging.getLogger("asyncq.worker")

AT_ONCE = 500
MAX_PENDING = 5_000
"""Settlements that may wait, in an outage, before the worker stops fetching."""

_AGAIN = Backoff(delay=0.05, max_delay=0.5)


class Settler:
    """Sends settlements: what is put in while one batch is under way goes together in the next.

    During an outage it sends the same again until it has its answer; settling twice takes effect once.

    Args:
        consumer: whose deliveries they are.
        refused: called with what took no effect, because the delivery was no longer the consumer's; and False where
            that is no news: after a lost reply the first sending may have taken effect.
        rid: called when all suspects that were put in are settled.
    """

    def __init__(
        self, consumer: Consumer, refused: Callable[[Settlement, bool], None], rid: Callable[[], None]
    ) -> None:
        self._consumer = consumer
        self._refused = refused
        self._rid = rid
        self._suspects = 0
        self._pending: list[Settlement] = []
        self._has_pending = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._random = Random()

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put in is settled."""
        return not self._pending

    @property
    def has_suspect(self) -> bool:
        """Whether a suspect that was put in is not settled: until then a death here counts for it."""
        return self._suspects > 0

    def put(self, settlement: Settlement) -> None:
        """Settle soon."""
        self._pending.append(settlement)
        if settlement.delivery.crashes >= SUSPECT_CRASHES:
            self._suspects += 1
        self._has_pending.set()
        if len(self._pending) >= MAX_PENDING:
            self._has_room.clear()

    async def wait_room(self) -> None:
        """Wait until the backlog is small enough to take on more work."""
        await self._has_room.wait()

    async def wait_empty(self) -> None:
        """Wait until everything that was put in is settled."""
        if self._pending:
            self._is_empty.clear()
        await self._is_empty.wait()

    async def run(self) -> None:
        """Settle until cancelled."""
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            self._is_empty.clear()
            while self._pending:
                effects, sent_before = await self._settled()
                batch = self._pending[: len(effects)]
                del self._pending[: len(effects)]
                self._has_room.set()
                if self._suspects:
                    self._count_off(batch)
                for number, (settlement, took_effect) in enumerate(zip(batch, effects, strict=True)):
                    if not took_effect:
                        self._refused(settlement, number >= sent_before)
            self._is_empty.set()

    def _count_off(self, batch: Sequence[Settlement]) -> None:
        self._suspects -= sum(settlement.delivery.crashes >= SUSPECT_CRASHES for settlement in batch)
        if not self._suspects:
            self._rid()

    async def _settled(self) -> tuple[Sequence[bool], int]:
        """Return for each of the first ones whether it took effect, and how many of them had been sent before.

        What is put in while the server does not answer goes with the next try: it may need less than what is stuck.
        """
        failures = sent = 0
        while True:
            batch = self._pending[:AT_ONCE]
            try:
                return await self._consumer.settle(batch), sent
            except BrokerUnavailable as error:
                failures += 1
                sent = len(batch)
                if failures == 1:
                    logger.warning("Cannot settle %d finished tasks yet: %s", len(self._pending), error)
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
