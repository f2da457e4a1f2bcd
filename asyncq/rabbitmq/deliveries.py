"""The deliveries: what comes from a queue over a channel of its own, without a task for each."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar, cast

from aiormq.channel import Channel
from pamqp.commands import Basic

from asyncq.rabbitmq.acknowledging import SOON, Acknowledger
from asyncq.rabbitmq.cancelling import cancellable, is_foreign_cancellation
from asyncq.rabbitmq.connection import Connection
from asyncq.rabbitmq.faults import FAULTS, mapped
from asyncq.rabbitmq.inbound import Deliveries, Properties, properties_of
from asyncq.timeouts import AnswerTimeout

T = TypeVar("T")

UNLIMITED = 0
MAX_PREFETCH = 65_535
URGENT = 0.75
"""The share of the prefetch that is unacknowledged when the server is about to send nothing more."""


class Arrival:
    """A message that the server has lent to a channel.

    Attributes:
        channel: which.
        tag: its number there.
        properties, body: as they were published.
        is_redelivered: the server has lent it before.
        consumer: of the channel, to which it came; empty: it was got.
        at: when it came, by `time.monotonic()`.
    """

    __slots__ = ("at", "body", "channel", "consumer", "is_redelivered", "properties", "tag")

    def __init__(
        self,
        channel: "ReceivingChannel",
        consumer: str,
        tag: int,
        is_redelivered: bool,
        properties: Properties,
        body: bytes,
    ) -> None:
        self.channel = channel
        self.consumer = consumer
        self.tag = tag
        self.is_redelivered = is_redelivered
        self.properties = properties
        self.body = body
        self.at = time.monotonic()

    def acknowledge(self) -> None:
        """Let the server forget it. Nothing happens if its channel has ended: the server has lent it anew then."""
        self.channel.settle(self)

    @property
    def queue(self) -> str:
        """The queue from which it came."""
        return self.channel.queue

    @property
    def is_lost(self) -> bool:
        """Whether its channel has ended, so that it is, or will be, lent to somebody else."""
        return not self.channel.is_open


class ReceivingChannel:
    """A channel on which one queue is consumed.

    The server fixes how much it sends ahead when a consumer begins. So to get more another one begins beside those that
    are there: to cancel one is no way, for RabbitMQ 4.0 to 4.2 gives back what is on its way to it, and counts that.

    Args:
        connection, channel: over which.
        queue: its name.
        server_queue: what the server calls it.
        take: called on the loop with each arrival; does not raise.
        told: called on the loop when the channel has ended, or the server has cancelled a consumer.
        command_timeout: seconds in which the server must answer.
        soon: seconds for which an acknowledgement that is not urgent may wait for others.

    Attributes:
        connection, channel, queue: as given.
        fault: what has ended it; None: it is open.
        prefetch: how many deliveries of its consumers may be unacknowledged; None: it has no consumer.
        outstanding: how many are.
        settled: how many arrivals were acknowledged.
        was_cancelled: the server has ended its consumers, because the queue was deleted or has moved.
        answered_at: when the server last answered, by `time.monotonic()`.
    """

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        queue: str,
        server_queue: str,
        take: Callable[[Arrival], None],
        told: Callable[[], None],
        *,
        command_timeout: float,
        soon: float = SOON,
    ) -> None:
        self.connection = connection
        self.queue = queue
        self.fault: BaseException | None = None
        self.prefetch: int | None = None
        self.outstanding = 0
        self.settled = 0
        self.was_cancelled = False
        self.answered_at = time.monotonic()
        self.channel = channel
        self._server_queue = server_queue
        self._take = take
        self._told = told
        self._seconds = command_timeout
        self._consumers: set[str] = set()
        self._consumed = 0
        self._acknowledger = Acknowledger(connection, channel.number, soon=soon)
        self._deliveries = Deliveries(self._arrived, self._cancelled, self._acknowledger.close)
        connection.takers[channel.number] = self._deliveries
        closing = cast("asyncio.Future[Any]", cast(Any, channel).closing)
        closing.add_done_callback(self._closed)

    @classmethod
    async def open(
        cls,
        connection: Connection,
        queue: str,
        server_queue: str,
        take: Callable[[Arrival], None],
        told: Callable[[], None],
        *,
        command_timeout: float,
        soon: float = SOON,
    ) -> Self:
        """Open one. Raises BrokerUnavailable or ConfigurationError."""
        channel = cast(Channel, await connection.channel())
        return cls(connection, channel, queue, server_queue, take, told, command_timeout=command_timeout, soon=soon)

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self.fault is None and not self.connection.ended.is_set()

    async def consume(self, prefetch: int) -> None:
        """Let the server send so many unacknowledged deliveries, beyond those of consumers that were cancelled."""
        if self.prefetch is None:
            self.outstanding = 0
            self.was_cancelled = False
        more = prefetch - (self.prefetch or 0)
        await self.call("consume", self.channel.basic_qos(prefetch_count=min(more, MAX_PREFETCH)))
        self._consumed += 1
        # No mere number: to a quorum queue whoever gets a message is a consumer, named by the number of the delivery.
        consumer = f"consumer-{self._consumed}"
        self._consumers.add(consumer)
        await self.call("consume", self.channel.basic_consume(self._server_queue, _ignore, consumer_tag=consumer))
        if consumer in self._consumers:  # else the server has ended it meanwhile
            self.prefetch = prefetch

    async def cancel(self) -> None:
        """Let the server send nothing more; what it has sent has arrived when this returns."""
        self.prefetch = None
        consumers = sorted(self._consumers)
        self._consumers.clear()
        for consumer in consumers:
            await self.call("cancel a consumer", self.channel.basic_cancel(consumer))

    async def get(self) -> bool:
        """Let one message arrive that is ready; return whether there was one.

        If not, whatever the server had sent before has arrived, too.
        """
        message = await self.call("get a message", self.channel.basic_get(self._server_queue))
        delivery = message.delivery
        if isinstance(delivery, Basic.GetOk):
            tag, is_redelivered = cast(int, delivery.delivery_tag), bool(delivery.redelivered)
            self._take(Arrival(self, "", tag, is_redelivered, properties_of(message.header), message.body))
            return True
        await self.ask()  # the channel says that there is none before it sends what it has got meanwhile
        return False

    async def ask(self) -> None:
        """Let the server show that it is there."""
        await self.call("answer", self.channel.basic_qos(prefetch_count=self.prefetch or 0))

    async def look(self) -> int:
        """Return how many messages are ready in the queue. Raises ConfigurationError where it is gone."""
        answer = await self.call("look", self.channel.queue_declare(self._server_queue, passive=True))
        return answer.message_count or 0

    @property
    def is_hungry(self) -> bool:
        """Whether the server may send more, if it has it."""
        return self.prefetch is not None and self.outstanding < self.prefetch

    def settle(self, arrival: Arrival) -> None:
        """Acknowledge soon."""
        if arrival.consumer in self._consumers:
            self.outstanding -= 1
        self.settled += 1
        unacknowledged = self.outstanding + self._acknowledger.settled + 1
        self._acknowledger.settle(arrival.tag, is_urgent=unacknowledged > URGENT * (self.prefetch or 0))

    def acknowledge_now(self) -> None:
        """Acknowledge what was settled, not in the next turn of the loop."""
        self._acknowledger.send()

    async def close(self) -> None:
        """End it in order: what was settled is acknowledged, the rest goes back to its place in the queue."""
        if self.is_open:
            self._acknowledger.send()
            self._acknowledger.close()
            await self.call("close a channel", self.channel.close())

    async def call(self, wanted: str, call: Coroutine[Any, Any, T]) -> T:
        """Return what the server answers. Raises BrokerUnavailable or ConfigurationError with what was wanted."""
        try:
            with cancellable():
                async with AnswerTimeout(self._seconds):
                    answer = await call
        except BaseException as error:
            if isinstance(error, TimeoutError):
                self.connection.abort(error)
            if isinstance(error, FAULTS) or is_foreign_cancellation(error):
                raise self._explained(wanted, self.fault or error) from error
            raise
        self.answered_at = time.monotonic()
        return answer

    def _explained(self, wanted: str, fault: BaseException) -> Exception:
        connection = self.connection
        if connection.ended.is_set():
            return connection.fault
        error = mapped(wanted, connection.address, fault)
        error.__cause__ = fault
        return error

    def _arrived(self, consumer: str, tag: int, is_redelivered: bool, properties: Properties, body: bytes) -> None:
        if consumer in self._consumers:
            self.outstanding += 1
        self._take(Arrival(self, consumer, tag, is_redelivered, properties, body))

    def _cancelled(self, consumer: str) -> None:
        if consumer in self._consumers:  # the others end with it, or have ended before
            self._consumers.clear()
            self.prefetch = None
            self.was_cancelled = True
            self._told()

    def _closed(self, closing: "asyncio.Future[Any]") -> None:
        fault = None if closing.cancelled() else closing.exception()
        self.fault = fault or ConnectionResetError("The channel was closed.")
        self._acknowledger.close()
        takers, number = self.connection.takers, self.channel.number
        if takers.get(number) is self._deliveries:  # else the number is another's already
            del takers[number]
        self._told()


async def _ignore(message: object) -> None:
    """What aiormq would call with a delivery."""
