"""The receiver: fetches as many deliveries as there are free slots, and starts them."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import TypeVar

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.transport import Consumer, Delivery, Return
from asyncq.turns import pass_turns
from asyncq.worker.executor import Executor
from asyncq.worker.settler import Settler
from asyncq.worker.slots import Slots

logger = logging.getLogger("asyncq.worker")

T = TypeVar("T")

AT_ONCE = 500

TURNS_AHEAD = 2
"""Turns of the loop that what has just started gets before the next fetch is sent: one to run, one to be settled.

A short task's result is then on its way some 40 us sooner."""

_AGAIN = Backoff(delay=0.1, max_delay=2.0)


class Receiver:
    """Keeps the slots filled. While all are taken it waits for one; while nothing is ready it waits for the transport.

    Args:
        is_burst: return when nothing is ready, instead of waiting.

    Attributes:
        is_fetching: whether it waits for the transport just now.
        is_full: whether it does not even ask, because no slot is free.
        asking_since: when it last began to ask again after it was full, by `time.monotonic()`.
    """

    def __init__(
        self, consumer: Consumer, slots: Slots, executor: Executor, settler: Settler, *, is_burst: bool
    ) -> None:
        self._consumer = consumer
        self._slots = slots
        self._executor = executor
        self._settler = settler
        self._is_burst = is_burst
        self._turns = deque(slots.free_by_queue())
        self.is_fetching = False
        self.is_full = False
        self.asking_since = time.monotonic()
        self._left_out: Sequence[str] = ()
        self._is_without_suspects = False
        self._is_restricted = asyncio.Event()
        self._is_stopping = False
        self._failures = 0
        self._random = Random()

    async def run(self) -> None:
        """Fetch until stopped or cancelled; in burst, until nothing is ready, running or unsettled."""
        while not self._is_stopping:
            await self._settler.wait_room()
            free = self._slots.free
            if free <= 0:
                free = await self._while_full(self._slots.wait_free())
            if self._is_stopping:  # that slot was freed by what is being waited for
                return
            was_idle = self._settler.is_empty and not self._executor.running
            wanted = min(free, AT_ONCE)
            deliveries = await self._fetched(wanted)
            for delivery in deliveries:
                if self._is_stopping:
                    self._settler.put(Return(delivery))
                else:
                    self._executor.start(delivery)
            if 0 < len(deliveries) < wanted:  # nothing more is ready: there is no hurry to ask again
                await pass_turns(TURNS_AHEAD)
            if self._is_burst and not deliveries:
                if was_idle and not self._failures:
                    return
                await self._wait_for_more()

    async def widen(self) -> None:
        """Until cancelled: end a waiting fetch that might take more by now than it was allowed to when it began.

        It passes over queues that were at their limit, and suspects while one was here.
        """
        while True:
            await self._is_restricted.wait()
            if not self._may_take_more():
                await self._slots.wait_freed()
                continue
            self._is_restricted.clear()
            with suppress(BrokerUnavailable):  # then the fetch fails, too
                await self._consumer.interrupt()

    async def stop(self, seconds: float) -> None:
        """Make `run` return within so many seconds; what a fetch brings after this is handed back."""
        self._is_stopping = True
        with suppress(BrokerUnavailable, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._consumer.interrupt()

    async def _fetched(self, count: int) -> Sequence[Delivery]:
        free = self._slots.free_by_queue()
        limits = {queue: free[queue] for queue in self._turns if free[queue]}
        if not limits:
            await self._while_full(self._slots.wait_freed())
            return ()
        self._turns.rotate(-1)
        self._left_out = [queue for queue in self._turns if not free[queue]]
        try:
            deliveries = await self._fetch(limits, count)
        except BrokerUnavailable as error:
            await self._back_off(error)
            return ()
        if self._failures:
            logger.info("Fetching again.")
            self._failures = 0
        return deliveries

    async def _while_full(self, waiting: Awaitable[T]) -> T:
        self.is_full = True
        try:
            return await waiting
        finally:
            self.asking_since = time.monotonic()
            self.is_full = False

    async def _fetch(self, limits: Mapping[str, int], count: int) -> Sequence[Delivery]:
        suspects = 0 if self._has_suspect else 1
        self._is_without_suspects = not suspects
        if self._left_out or not suspects:
            self._is_restricted.set()
        self.is_fetching = True
        try:
            return await self._consumer.fetch(limits, count, wait=not self._is_burst, suspects=suspects)
        finally:
            self.is_fetching = False
            self._is_restricted.clear()

    @property
    def _has_suspect(self) -> bool:
        """Whether a suspect is here that runs, or has ended and is not settled: another's death would count for it."""
        return self._executor.has_suspect or self._settler.has_suspect

    def _may_take_more(self) -> bool:
        if self._is_without_suspects and not self._has_suspect:
            return True
        free = self._slots.free_by_queue()
        return any(free[queue] for queue in self._left_out)

    async def _back_off(self, error: BrokerUnavailable) -> None:
        self._failures += 1
        if self._failures in (1, 10) or self._failures % 100 == 0:
            logger.warning("Cannot fetch (%d times now); tasks that run go on: %s", self._failures, error)
        await asyncio.sleep(_AGAIN.seconds(self._failures, self._random))

    async def _wait_for_more(self) -> None:
        """In burst, with nothing ready: wait for what ran when that was asked. It may have made more ready since.

        Also by a run that waits for what it has published: that is to run here.
        """
        if self._executor.running:
            await self._slots.wait_freed()
        if not self._executor.running:
            await self._settler.wait_empty()
