"""The confirming channel: writes many messages at once, and learns what became of each."""

import asyncio
from collections.abc import Sequence
from enum import Enum
from itertools import takewhile
from typing import Any, Self, TypeAlias, cast

from aiormq.channel import Channel

from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.rabbitmq.cancelling import cancellable, is_foreign_cancellation
from asyncq.rabbitmq.connection import Connection
from asyncq.rabbitmq.faults import FAULTS
from asyncq.rabbitmq.frames import Message, number_in, publication
from asyncq.rabbitmq.inbound import Outcomes


class Confirmed(Enum):
    """The server has a message as safe as it keeps anything."""

    YES = "yes"


class Nowhere(PublishRefused):
    """There is no exchange or no queue for a message."""


class NotTaken(PublishRefused, BrokerUnavailable):
    """A queue is there and has not taken a message: it is full, or has no leader, or this channel knows the wrong one.

    It is refused for sure, and may be taken later: so it is both of these errors.

    A server before 3.12.5 whose channel first meets a quorum queue while its leader is taken to be on a node that is
    down asks that node for as long as it is down, and refuses all that is for the queue: on this channel, and no other.
    """


Outcome: TypeAlias = Confirmed | PublishRefused | None
"""None: nothing is known."""


class ConfirmingChannel:
    """A channel on which nothing is done but publishing. Several callers may send at the same time.

    `basic_publish` of aiormq costs some 70 us a message, this 10: there, each has a coroutine, a lock, a time limit, a
    future and pamqp's frames of its own. Here the frames of many messages are written at once, and confirms are read
    from the stream before aiormq sees them.

    Attributes:
        connection: to which it belongs.
        fault: what ended it, as aiormq says it; None: it is open.
    """

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self.connection = connection
        self.fault: BaseException | None = None
        self._channel = channel
        self._unconfirmed: dict[int, tuple[_Sending, int]] = {}  # by delivery tag, in order
        self._last_tag = 0
        self._sendings: set[_Sending] = set()
        self._is_retired = False
        self._outcomes = connection.takers[channel.number] = Outcomes(self._confirmed, self._returned)
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
                self._unconfirmed[tag] = sending, index
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
            with cancellable():
                await self._channel.close()
        except BaseException as error:
            if not isinstance(error, FAULTS) and not is_foreign_cancellation(error):
                raise

    def _confirmed(self, tag: int, is_multiple: bool, is_taken: bool) -> None:
        unconfirmed = self._unconfirmed
        tags = list(takewhile(tag.__ge__, unconfirmed)) if is_multiple else (tag,)
        for each in tags:
            if (known := unconfirmed.pop(each, None)) is not None:  # else it was returned
                sending, index = known
                sending.settle(index, Confirmed.YES if is_taken else _not_taken(sending.messages[index]))

    def _returned(self, message_id: str) -> None:
        if (known := self._unconfirmed.pop(number_in(message_id), None)) is not None:
            sending, index = known
            sending.settle(index, _nowhere(sending.messages[index]))

    def _closed(self, closing: "asyncio.Future[Any]") -> None:
        fault = None if closing.cancelled() else closing.exception()
        self.fault = fault or ConnectionResetError("The channel was closed.")
        takers, number = self.connection.takers, self._channel.number
        if takers.get(number) is self._outcomes:  # else the number is another's already
            del takers[number]
        self._unconfirmed.clear()
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


def _nowhere(message: Message) -> PublishRefused:
    key, exchange = message.routing_key, message.exchange
    queue = f"for routing key {key!r} of exchange {exchange!r}" if exchange else repr(key)
    return Nowhere(f"RabbitMQ has no queue {queue}: it was deleted, or never declared.")


def _not_taken(message: Message) -> PublishRefused:
    key, exchange = message.routing_key, message.exchange
    queue = f"for routing key {key!r} of exchange {exchange!r}" if exchange else f"for queue {key!r}"
    return NotTaken(f"RabbitMQ took nothing more {queue}: the queue is full, has no leader, or its node is down.")
