"""The replies: how a process is told the ends of the calls that it has published, over a queue of its own."""

import asyncio
import logging
from collections import deque
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival, ReceivingChannel
from asyncq.rabbitmq.receiving import SILENCE
from asyncq.rabbitmq.wire import notice_in
from asyncq.store import Address, Listener, Replies

logger = logging.getLogger("asyncq.rabbitmq")

PREFETCH = 1_000
"""Replies that may be under way at a time."""

_AGAIN = Backoff(delay=0.05, max_delay=2.0)


class RabbitReplies(Replies):
    """A store without a memory: a queue that belongs to one process, and outlives its connections.

    It is gone when nobody has consumed it for ten minutes, and what was told meanwhile with it.

    Args:
        client: the transport's.
        address: the process's own, which nobody else has.
    """

    def __init__(self, client: RabbitClient, address: Address) -> None:
        super().__init__(address)
        self._client = client
        self._listener: Listener | None = None
        self._channel: ReceivingChannel | None = None
        self._told: deque[Arrival] = deque()
        self._changed = asyncio.Event()
        self._was_made = False
        self._random = Random()

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def listen(self, listener: Listener) -> Address:
        self._listener = listener
        self._channel = await self._open()
        return self.address

    async def run(self) -> None:
        """Take replies until cancelled."""
        failures = 0
        while True:
            try:
                channel = self._channel or await self._open()
                failures = 0
                await self._serve(channel)
            except BrokerUnavailable as error:
                failures += 1
                if failures == 1 and not self._client.outage.is_on:  # else it is in the log
                    logger.warning("Results cannot be heard of: %s", error)
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
            self._channel = None

    async def _open(self) -> ReceivingChannel:
        """Consume the queue; if it is not there, or not any more, make it, and say so."""
        client = self._client
        if await client.is_missing(client.names.reply(self.address)):
            if self._was_made:
                client.forget()
            self._was_made = True
            await client.provide_reply(self.address)
            if self._listener is not None:
                self._listener.resync()
        connection = await client.consuming.connection(seconds=client.command_timeout)
        channel = await ReceivingChannel.open(
            connection,
            "",
            client.names.reply(self.address),
            self._take,
            self._changed.set,
            command_timeout=client.command_timeout,
        )
        await channel.consume(PREFETCH)
        return channel

    async def _serve(self, channel: ReceivingChannel) -> None:
        while channel.is_open and not channel.was_cancelled:
            self._changed.clear()
            try:
                async with asyncio.timeout(SILENCE):
                    await self._changed.wait()
            except TimeoutError:
                await channel.ask()
        if channel.was_cancelled:
            await channel.close()

    def _take(self, arrival: Arrival) -> None:
        """Tell it in the next turn of the loop, with all that comes in this one."""
        if not self._told:
            asyncio.get_running_loop().call_soon(self._tell)
        self._told.append(arrival)

    def _tell(self) -> None:
        told = list(self._told)
        self._told.clear()
        if self._listener is not None:
            self._listener.notice([notice_in(arrival) for arrival in told])
        for arrival in told:
            arrival.acknowledge()
