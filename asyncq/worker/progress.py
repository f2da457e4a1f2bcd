"""The progress reporter: sends what running tasks say of themselves, not more often than anybody can read."""

import asyncio
import logging
from contextlib import suppress

import msgspec

from asyncq.broker import Broker
from asyncq.context import Context
from asyncq.errors import BrokerUnavailable
from asyncq.result import Progress
from asyncq.store import CallKey, Store

logger = logging.getLogger("asyncq.worker")

INTERVAL = 0.1
"""Seconds between two sendings: 10 a second, however often a task reports."""


class ProgressReporter:
    """Keeps the latest report of each run and sends it: the first at once, then at intervals, the last always."""

    def __init__(self, broker: Broker, store: Store) -> None:
        self._broker = broker
        self._store = store
        self._latest: dict[str, tuple[Context, Progress]] = {}
        self._sending = asyncio.Lock()
        self._has_news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def report(self, context: Context, progress: Progress) -> None:
        """Take a report, from the loop's thread or from that of a task."""
        try:
            is_on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_on_loop = False
        if is_on_loop:
            self._take(context, progress)
        else:
            self._loop.call_soon_threadsafe(self._take, context, progress)

    async def flush(self, context: Context) -> None:
        """Send the last report of a run that has ended, before its result is."""
        async with self._sending:  # one that is under way must not arrive after the result
            latest = self._latest.pop(context.message.id, None)
            if latest is not None:
                await self._send(*latest)

    async def run(self) -> None:
        """Send reports until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            async with self._sending:
                latest, self._latest = self._latest, {}
                for context, progress in latest.values():
                    await self._send(context, progress)
            await asyncio.sleep(INTERVAL)

    def _take(self, context: Context, progress: Progress) -> None:
        self._latest[context.message.id] = (context, progress)
        self._has_news.set()

    async def _send(self, context: Context, progress: Progress) -> None:
        message = context.message
        key = CallKey(message.id, message.queue)
        # Progress is worth no more than the moment: in an outage the next report replaces this one.
        with suppress(BrokerUnavailable):
            await self._store.report(
                key,
                msgspec.json.encode(progress),
                reply=message.reply,
                ttl_ms=self._broker.result_ttl_ms(message),
            )
