"""The waiters of a process: who waits for the end of which call, and how they learn it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from typing import Any
from weakref import WeakValueDictionary

from asyncq.broker.audience import Audience, missing, not_ended
from asyncq.broker.expiring import Expiring
from asyncq.broker.subscription import SAFETY_SECONDS, Subscription
from asyncq.errors import BrokerUnavailable
from asyncq.result import Record, decode_record
from asyncq.store import CallKey, Listener, Notice, Sighting
from asyncq.tasks.calls import Waiting, expiring_message

APPEARING_SECONDS = (0.02, 0.5)
"""First and longest pause between two looks for an id that nobody has published yet."""


class Waiters(Audience):
    """Waits for results over one subscription, and looks where it may not have been told.

    Args:
        subscription: what is looked with, and what tells.
        expiring: ends what expires while it is waited for, also when no worker runs.
        now_ms: returns the time by the server's clock.
        start: runs a doer until the session closes.
    """

    def __init__(
        self,
        subscription: Subscription,
        expiring: Expiring,
        now_ms: Callable[[], int],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        super().__init__()
        self._subscription = subscription
        self._expiring = expiring
        self._now_ms = now_ms
        self._start = start
        self._expected: WeakValueDictionary[str, Waiting] = WeakValueDictionary()
        subscription.add(Listener(self._take_notices, self._doubt_all))

    def expect(self, waiting: Waiting) -> None:
        other = self._expected.get(waiting.id)
        if other is not None:
            other.is_told = False  # one is told; the other looks
        self._expected[waiting.id] = waiting

    async def run(self) -> None:
        """Look again where a notice was not enough, at what may have been missed, and at what expires."""
        next_safety = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= next_safety:
                self._waits.doubt_all()
                next_safety = loop.time() + SAFETY_SECONDS
            try:
                await self._expire_due()
                await self._look_again()
            except BrokerUnavailable:
                next_safety = loop.time() + 1.0
            pause = min(next_safety - loop.time(), self._waits.until_expiry(self._now_ms())) if self._waits else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._waits.has_work.wait()
            self._waits.has_work.clear()

    def close(self) -> None:
        self._waits.fail(BrokerUnavailable, "The broker was closed while a result was waited for.")
        self._doubt_all()

    # Waiting

    async def _begin(self) -> None:
        await self._subscription.listen()
        if not self._is_running:
            self._start(self.run())
            self._is_running = True

    async def _told(
        self, waiting: Waiting, future: "asyncio.Future[bytes | None]", wait_for_publish: float
    ) -> bytes | None:
        if waiting.record is not None:
            return waiting.record
        if not waiting.is_told:
            with self._waits.hoping(waiting.id, future) if wait_for_publish else nullcontext():
                sighting = await self._appearance(CallKey(waiting.id, waiting.queue), wait_for_publish)
            if sighting is None or sighting.record is not None:
                return None if sighting is None else sighting.record
            self._waits.learn(waiting.id, sighting)
        return await future

    async def _appearance(self, key: CallKey, seconds: float) -> Sighting | None:
        """Look for an id, again and again for so many seconds while nobody knows it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        pause, longest = APPEARING_SECONDS
        while True:
            sighting = await self._subscription.watch(key)
            left = until - loop.time()
            if sighting is not None or left <= 0:
                return sighting
            await asyncio.sleep(min(pause, left))
            pause = min(longest, pause * 2)

    async def _record_now(self, waiting: Waiting) -> Record:
        sighting = await self._subscription.look(CallKey(waiting.id, waiting.queue))
        if sighting is None:
            raise missing(waiting.id)
        if sighting.record is None:
            raise not_ended(waiting.id)
        return decode_record(sighting.record)

    # Being told

    def _take_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.record is not None:
                self._resolve(notice.id, notice.record)
            elif notice.is_over:
                self._take_end(notice.id)

    def _take_end(self, id: str) -> None:
        """Take a notice that a call has ended, but not how: who waits or will wait for it looks."""
        expected = self._expected.pop(id, None)
        if expected is not None:
            expected.is_told = False
        self._waits.doubt(id)

    def _doubt_all(self) -> None:
        self._waits.doubt_all()
        self._waits.has_work.set()
        for waiting in list(self._expected.values()):
            waiting.is_told = False  # its notice may have been missed: whoever waits for it looks first

    def _resolve(self, id: str, record: bytes | None) -> None:
        expected = self._expected.pop(id, None)
        if expected is not None:
            expected.record = record
        self._waits.resolve(id, record)

    # Looking again

    async def _look_again(self) -> None:
        for keys in self._waits.take_doubtful():
            for key, sighting in zip(keys, await self._subscription.watch_all(keys), strict=True):
                if sighting is None or sighting.record is not None:
                    self._resolve(key.id, None if sighting is None else sighting.record)
                else:
                    self._waits.learn(key.id, sighting)

    async def _expire_due(self) -> None:
        for key in self._waits.take_expired(self._now_ms()):
            [sighting] = await self._subscription.watch_all([key])
            message = None if sighting is None else expiring_message(sighting)
            if sighting is not None and message is not None:
                await self._expiring.expire(CallKey(key.id, sighting.queue), message)
                self._waits.doubt(key.id)
