"""The receiving: a queue is consumed whenever it can be, and what has arrived stays here until it is fetched."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random

from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival, ReceivingChannel
from asyncq.rabbitmq.faults import explained

logger = logging.getLogger("asyncq.rabbitmq")

SILENCE = 15.0
"""Seconds after which the server is asked whether it is there."""

MAX_LOSSES = 100

_AGAIN = Backoff(delay=0.05, max_delay=2.0)


class Intake:
    """One queue's way in. It opens a channel, and another when that has ended.

    How many messages the server may send ahead is decided by what is asked for (`want`).

    Args:
        client: its connections.
        queue: which.
        told: called when something has arrived, or stands in the way.

    Attributes:
        buffer: what has arrived, in order.
        arrivals: how many have arrived in all.
        fault: why there is no channel; None: there is one, or nobody knows yet.
        is_sorted: all that arrives is taken out of the buffer, whatever there are slots for.
        losses_ms: when the latest of its channels have ended that it did not end itself, in ms since 1970.
    """

    def __init__(self, client: RabbitClient, queue: str, told: Callable[[], None]) -> None:
        self.queue = queue
        self.buffer: deque[Arrival] = deque()
        self.arrivals = 0
        self.fault: BrokerUnavailable | None = None
        self.is_sorted = False
        self.losses_ms: deque[int] = deque(maxlen=MAX_LOSSES)
        self._client = client
        self._told = told
        self._channel: ReceivingChannel | None = None
        self._wanted = 0
        self._ceiling = 0
        self._probes: list[asyncio.Future[None]] = []
        self._flushes: list[asyncio.Future[None]] = []
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._answered_at = time.monotonic()
        self._is_starving = False
        self._is_closed = False
        self._random = Random()

    @property
    def answered_at(self) -> float:
        """When the server last answered, by `time.monotonic()`."""
        return self._answered_at if self._channel is None else self._channel.answered_at

    def want(self, limit: int, count: int) -> None:
        """Let the server send so many more messages, besides those that are left in the buffer.

        Args:
            limit: how many more there are slots for.
            count: how many more are to be fetched just now, up to `limit`.
        """
        if count <= 0:
            return
        channel = self._channel
        if channel is None or not self._wanted:
            self._change(max(count, self._wanted))
            return
        self._ceiling = max(self._ceiling, limit + channel.outstanding)
        if self._wanted < self._ceiling and channel.outstanding + count > self._wanted:
            self._change(min(self._ceiling, max(2 * self._wanted, channel.outstanding + count)))

    def want_at_least(self, count: int) -> None:
        """Let the server have sent so many that are not acknowledged."""
        if self._wanted < count:
            self._change(count)

    def take_older_than(self, at: float) -> list[Arrival]:
        """Take out of the buffer what has arrived before, by `time.monotonic()`."""
        arrivals = [arrival for arrival in self.buffer if arrival.at < at]
        for arrival in arrivals:
            self.buffer.remove(arrival)
        return arrivals

    def pause(self) -> None:
        """Let the server send nothing until more is wanted, and ask whoever fetches whether it is."""
        if self._wanted:
            self._change(0)
            self._told()

    def probe(self) -> "asyncio.Future[None]":
        """Return what is done when at least one message has arrived of those that are ready now, if any is."""
        return self._ask(self._probes)

    def flush(self) -> "asyncio.Future[None]":
        """Return what is done when all has arrived that the server has sent by now."""
        return self._ask(self._flushes)

    async def run(self) -> None:
        """Consume until cancelled or closed. Raises ConfigurationError for what waiting does not mend."""
        failures = 0
        while not self._is_closed:
            try:
                channel = await self._open()
                failures = 0
                await self._serve(channel)
            except BrokerUnavailable as error:
                await self._fail(error)
            except ConfigurationError as error:
                if not isinstance(error.__cause__, ChannelNotFoundEntity):
                    raise
                self._client.forget()  # the queue was deleted
                await self._fail(BrokerUnavailable(str(error)))
            if not self._is_closed:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))

    async def stop(self) -> None:
        """Let nothing arrive any more; what has arrived stays in the buffer. Raises BrokerUnavailable."""
        self._is_closed = True
        self._changed.set()
        async with self._turn:
            if self._channel is not None and self._channel.is_open:
                await self._channel.cancel()

    async def close(self) -> None:
        """Give the channel back, after `stop`; what was not settled by then goes back to its place."""
        if self._channel is not None:
            await self._channel.close()

    async def _open(self) -> ReceivingChannel:
        client = self._client
        connection = await client.consuming.connection(seconds=client.command_timeout)
        await client.provide(self.queue)
        self._channel = await ReceivingChannel.open(
            connection,
            self.queue,
            client.names.queue(self.queue),
            self._take,
            self._changed.set,
            command_timeout=client.command_timeout,
        )
        self.fault = None
        return self._channel

    async def _serve(self, channel: ReceivingChannel) -> None:
        while not self._is_closed:
            self._changed.clear()
            if not channel.is_open:
                self._report(channel)
                self._mourn(channel)
                return
            if channel.was_cancelled:
                await self._turn_to_new_queue(channel)
                return
            await self._adjust(channel)
            await self._answer(channel)
            silence = time.monotonic() - channel.answered_at
            if silence >= SILENCE:
                await self._look(channel)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE - silence):
                    await self._changed.wait()

    async def _look(self, channel: ReceivingChannel) -> None:
        """Ask whether the server is there, and close a channel on which it should send something and does not.

        A quorum queue that is deleted and declared anew within milliseconds tells nobody: to the channel's process it
        is the old one, and what comes from it is out of sequence.
        """
        is_starving = await channel.look() > 0 and channel.is_hungry
        if is_starving and self._is_starving:
            logger.warning("Queue %r has messages, and RabbitMQ sends none: consuming it again.", self.queue)
            await channel.close()
        self._is_starving = is_starving

    async def _adjust(self, channel: ReceivingChannel) -> None:
        async with self._turn:
            if self._is_closed:
                return
            if not self._wanted:
                await channel.cancel()
            elif channel.prefetch is None or channel.prefetch < self._wanted:
                await channel.consume(self._wanted)

    async def _answer(self, channel: ReceivingChannel) -> None:
        # Here, and not by who asks: aiormq closes a channel whose caller is cancelled.
        for asked, answer in ((self._probes, channel.get), (self._flushes, channel.ask)):
            count = len(asked)
            if count:
                await answer()
                for future in asked[:count]:
                    if not future.done():
                        future.set_result(None)
                del asked[:count]

    async def _turn_to_new_queue(self, channel: ReceivingChannel) -> None:
        """Close the channel: until the server has told of each consumer, the channel knows the old queue there."""
        logger.warning("RabbitMQ has ended the consumer of queue %r: the queue was deleted, or moves.", self.queue)
        self._client.forget()
        await channel.close()
        self._mourn(channel)

    def _take(self, arrival: Arrival) -> None:
        self.arrivals += 1
        self.buffer.append(arrival)
        self._told()

    def _change(self, wanted: int) -> None:
        self._wanted = wanted
        self._changed.set()

    async def _fail(self, error: BrokerUnavailable) -> None:
        channel = self._channel
        if channel is None:  # it could not be opened
            self.fault = error
            self._fail_asked(error)
            self._told()
            return
        self._report(channel)
        with suppress(BrokerUnavailable):
            await channel.close()
        self._mourn(channel)

    def _mourn(self, channel: ReceivingChannel) -> None:
        """Forget a channel that has ended, and what it had brought: the server lends that again."""
        self.losses_ms.append(time.time_ns() // 1_000_000)
        self._answered_at = channel.answered_at
        self._channel = None
        self._wanted = 0
        self.buffer.clear()
        self._fail_asked(BrokerUnavailable("The channel has ended that was asked."))
        self._told()

    def _report(self, channel: ReceivingChannel) -> None:
        """Say why the server has closed a channel, if it has."""
        fault = None if channel.connection.ended.is_set() else channel.fault
        if isinstance(fault, ChannelPreconditionFailed) and "timed out" in str(fault):
            logger.error(
                "RabbitMQ has taken queue %r from this worker: a task ran for longer than the server's setting "
                "consumer_timeout. What runs here goes on, and runs once more where it is sent now. To prevent that, "
                "set consumer_timeout in rabbitmq.conf to more than the longest time that a task may take.",
                self.queue,
            )
        elif fault is not None:
            logger.warning("RabbitMQ has closed the channel of queue %r: %s", self.queue, explained(fault))

    def _ask(self, asked: "list[asyncio.Future[None]]") -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        asked.append(future)
        self._changed.set()
        return future

    def _fail_asked(self, error: BrokerUnavailable) -> None:
        for future in (*self._probes, *self._flushes):
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, even if nobody waits any more
        self._probes.clear()
        self._flushes.clear()
