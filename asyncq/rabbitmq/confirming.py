"""The confirming channel: writes many messages at once, and learns what became of each."""

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Any, Self, TypeAlias, cast

from aiormq import DeliveryError, PublishError
from aiormq.channel import Channel

from asyncq.errors import PublishRefused
from asyncq.rabbitmq.connection import Connection, is_foreign_cancellation
from asyncq.rabbitmq.faults import FAULTS
from asyncq.rabbitmq.frames import Message, publication


class Confirmed(Enum):
    """The server has a message as safe as it keeps anything."""

    YES = "yes"


class NotTaken(PublishRefused):
    """A queue is there and has not taken a message: it is full, or has no leader, or this channel knows the wrong one.

    A server before 3.12.5 whose channel first meets a quorum queue while its leader is taken to be on a node that is
    down asks that node for as long as it is down, and refuses all that is for the queue: on this channel, and no other.
    """


Outcome: TypeAlias = Confirmed | PublishRefused | None
"""None: nothing is known."""


class ConfirmingChannel:
    """A channel on which nothing is done but publishing. Several callers may send at the same time.

    `basic_publish` of aiormq costs some 70 us a message, this 10: there, each has a coroutine, a lock, a time limit, a
    future and pamqp's frames of its own. Here the frames of many messages are written at once, and confirms go straight
    to the `_Slot`s that stand in the channel's `confirmations`, where `basic_publish` would put futures. Of aiormq this
    uses public attributes only: that mapping and its fellow, in which it looks up returned messages.

    Attributes:
        connection: to which it belongs.
        fault: what ended it, as aiormq says it; None: it is open.
    """

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self.connection = connection
        self.fault: BaseException | None = None
        self._channel = channel
        self._slots = cast(dict[int, Any], cast(Any, channel).confirmations)
        channel.message_id_delivery_tag = _Tags()
        self._last_tag = 0
        self._sendings: set[_Sending] = set()
        self._is_retired = False
        closing = cast("asyncio.Future[Any]", cast(Any, channel).closing)
        closing.add_done_callback(self._closed)

    @classmethod
    async def open(cls, connection: Connection) -> Self:
        """Open one. Raises BrokerUnavailable or ConfigurationError."""
        return cls(connection, cast(Channel, await connection.channel(confirms=True)))

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self.fault is None and not self._is_retired and not self.connection.ended.is_set()

    async def retire(self) -> None:
        """Let nothing more be sent here, and close the channel once nobody waits for an outcome any more."""
        self._is_retired = True
        await self._close_if_unused()

    async def send(self, messages: Sequence[Message], outcomes: list[Outcome]) -> BaseException | None:
        """Publish the messages of which nothing is known, in one write, and wait until all is known.

        Args:
            messages: some of which may have been published before, on a channel that has ended.
            outcomes: by index of the message; they are filled in as they come, also when this is cancelled.

        Returns:
            What has ended the channel before all was known, or None.
        """
        sending = _Sending(messages, outcomes)
        self._sendings.add(sending)
        try:
            fault = self._write(sending)
            if fault is None:
                await sending.is_over
        finally:
            self._sendings.discard(sending)
        await self._close_if_unused()
        return fault or (self.fault if sending.left else None)

    def _write(self, sending: "_Sending") -> Exception | None:
        number, max_size = self._channel.number, self._channel.max_content_size
        pieces: list[bytes] = []
        for index, outcome in enumerate(sending.outcomes):
            if outcome is None:
                message = sending.messages[index]
                self._last_tag = tag = self._last_tag + 1
                self._slots[tag] = _Slot(sending, index)
                pieces += publication(message, tag, channel=number, max_size=max_size)
        try:
            self.connection.writer.write(b"".join(pieces))
        except (RuntimeError, AttributeError) as error:  # reset while nothing was written: uvloop, and asyncio
            self.connection.abort()
            return ConnectionResetError(str(error))
        return None

    async def _close_if_unused(self) -> None:
        if not self._is_retired or self._sendings or self.fault is not None or self.connection.ended.is_set():
            return
        try:
            await self._channel.close()
        except BaseException as error:
            if not isinstance(error, FAULTS) and not is_foreign_cancellation(error):
                raise

    def _closed(self, closing: "asyncio.Future[Any]") -> None:
        fault = None if closing.cancelled() else closing.exception()
        self.fault = fault or ConnectionResetError("The channel was closed.")
        for sending in self._sendings:
            sending.end()


class _Sending:
    """Messages on their way over one channel."""

    __slots__ = ("is_over", "left", "messages", "outcomes")

    def __init__(self, messages: Sequence[Message], outcomes: list[Outcome]) -> None:
        self.messages = messages
        self.outcomes = outcomes
        self.left = outcomes.count(None)
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self.left -= 1
        if not self.left:
            self.end()

    def end(self) -> None:
        if not self.is_over.done():
            self.is_over.set_result(None)


class _Slot:
    """Where one confirm goes: what aiormq uses of a future."""

    __slots__ = ("index", "sending")

    def __init__(self, sending: _Sending, index: int) -> None:
        self.sending = sending
        self.index = index

    def done(self) -> bool:
        return False

    def set_result(self, result: object) -> None:
        self.sending.settle(self.index, Confirmed.YES)

    def set_exception(self, error: DeliveryError) -> None:
        message = self.sending.messages[self.index]
        self.sending.settle(self.index, _refusal(message, error))


class _Tags(dict[str, int]):
    """What aiormq looks up when a message is returned: the delivery tag is the number in the message's id."""

    def get(self, key: str, default: Any = None) -> Any:
        number = key.partition(":")[0]
        return int(number) if number.isdecimal() else default


def _refusal(message: Message, error: DeliveryError) -> PublishRefused:
    key, exchange = message.routing_key, message.exchange
    if isinstance(error, PublishError):
        queue = f"for routing key {key!r} of exchange {exchange!r}" if exchange else repr(key)
        return PublishRefused(f"RabbitMQ has no queue {queue}: it was deleted, or never declared.")
    queue = f"for routing key {key!r} of exchange {exchange!r}" if exchange else f"for queue {key!r}"
    return NotTaken(f"RabbitMQ took nothing more {queue}: the queue is full, or failed.")
