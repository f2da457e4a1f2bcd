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

FLUSH_SECONDS = 1.0
"""How long the last report of a run may hold back its result, when the server does not answer."""


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
        """Take a report, from the loop's thread or from that of a task. Raises NotSupported without a memory for it."""
        if not self._broker.capabilities.has_memory:
            raise self._broker.capabilities.without_memory("progress()")
        try:
            is_on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_on_loop = False
        if is_on_loop:
            self._take(context, progress)
        else:
            self._loop.call_soon_threadsafe(self._take, context, progress)

    async def flush(self, context: Context) -> None:
        """Send the last report of a run that has ended, before its result is; but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._send_latest(context.message.id)

    async def run(self) -> None:
        """Send reports until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            for id in list(self._latest):
                if not await self._send_latest(id):
                    self._has_news.set()  # an outage: the others need not find that out one by one
                    break
            await asyncio.sleep(INTERVAL)

    def _take(self, context: Context, progress: Progress) -> None:
        self._latest[context.message.id] = (context, progress)
        self._has_news.set()

    async def _send_latest(self, id: str) -> bool:
        """Send what is the latest of one run, if it is not sent yet; return False when the server cannot be reached."""
        async with self._sending:  # one that is under way must not arrive after the result
            latest = self._latest.pop(id, None)
            if latest is None:
                return True
            context, progress = latest
            message = context.message
            try:
                await self._store.report(
                    CallKey(message.id, message.queue),
                    msgspec.json.encode(progress),
                    reply=message.reply,
                    ttl_ms=self._broker.result_ttl_ms(message),
                )
            except BrokerUnavailable:  # worth no more than the moment: the next report replaces this one
                return False
            return True
