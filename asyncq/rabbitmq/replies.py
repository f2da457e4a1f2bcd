"""The replies: how a process is told the ends of the calls that it has published, over a queue of its own."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import MutableMapping
from contextlib import suppress
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival, ReceivingChannel
from asyncq.rabbitmq.faults import NodeDown, Silence
from asyncq.rabbitmq.receiving import SILENCE
from asyncq.rabbitmq.wire import notice_in
from asyncq.store import Address, Listener, Replies

logger = logging.getLogger("asyncq.rabbitmq")

SOON = 0.1
"""Seconds after which the server may forget a reply. What is told twice does no harm."""
PREFETCH = 1_000
"""Replies that may be under way at a time."""

SILENT = 30.0
"""Seconds after which a queue of which the server says nothing is taken to be on a node that is down."""

_AGAIN = Backoff(delay=0.05, max_delay=2.0)


class RabbitReplies(Replies):
    """A store without a memory: a queue that belongs to one process, and outlives its connections.

    It is gone when nobody has consumed it for ten minutes, and what was told meanwhile with it. It is on one node of a
    cluster; when that is down another queue takes its place, on a node that lives, and the first is deleted when it is
    seen again.

    Args:
        client: the transport's.
        address: the process's own, which nobody else has.
        numbers: how many queues an address has left behind; shared by all that are opened under it, one after the
            other.
    """

    def __init__(
        self, client: RabbitClient, address: Address, numbers: MutableMapping[Address, int] | None = None
    ) -> None:
        super().__init__(address)
        self._client = client
        self._numbers: MutableMapping[Address, int] = {} if numbers is None else numbers
        self._left = set(range(self._number))
        self._listener: Listener | None = None
        self._channel: ReceivingChannel | None = None
        self._told: deque[Arrival] = deque()
        self._changed = asyncio.Event()
        self._was_made = False
        self._silent_since = 0.0
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

    @property
    def _number(self) -> int:
        return self._numbers.get(self.address, 0)

    @property
    def _queue(self) -> str:
        return self._client.names.reply(self.address, self._number)

    async def _open(self) -> ReceivingChannel:
        """Consume the queue; if it is not there, or not any more, make it, and say so."""
        client = self._client
        if await self._is_lost():
            if self._was_made:
                client.forget()
            self._was_made = True
            await client.provide_reply(self.address, self._number)
            await self._delete_left()
            if self._listener is not None:
                self._listener.resync()
        connection = await client.consuming.connection(seconds=client.command_timeout)
        channel = await ReceivingChannel.open(
            connection,
            "",
            self._queue,
            self._take,
            self._changed.set,
            command_timeout=client.command_timeout,
            soon=SOON,
        )
        await channel.consume(PREFETCH)
        return channel

    async def _is_lost(self) -> bool:
        """Tell whether the queue has to be made; from one that is out of reach, turn to the next."""
        asked_at = time.monotonic()
        try:
            is_missing = await self._client.is_missing(self._queue)
        except Silence as error:
            self._silent_since = self._silent_since or asked_at
            if time.monotonic() - self._silent_since < SILENT:
                raise
            self._give_up(error)
            return True
        except NodeDown as error:
            self._give_up(error)
            return True
        self._silent_since = 0.0
        return is_missing

    def _give_up(self, error: BrokerUnavailable) -> None:
        """Turn to the next queue."""
        logger.warning("Results that were not heard of yet are lost: %s", error)
        self._silent_since = 0.0
        self._left.add(self._number)
        self._numbers[self.address] = self._number + 1

    async def _delete_left(self) -> None:
        """Delete the queues before this one: once their nodes are back, they are told all that this one is told.

        From 4.0 on, that can be done while a node is down, and should: what is for both is refused as long as it is.
        """
        for number in list(self._left):
            with suppress(NodeDown):
                await self._client.delete(self._client.names.reply(self.address, number))
                self._left.discard(number)

    async def _serve(self, channel: ReceivingChannel) -> None:
        while channel.is_open and not channel.was_cancelled:
            self._changed.clear()
            try:
                async with asyncio.timeout(SILENCE):
                    await self._changed.wait()
            except TimeoutError:
                await channel.ask()
                await self._delete_left()
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
