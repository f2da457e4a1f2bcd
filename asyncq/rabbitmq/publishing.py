"""The publishing: messages to the server, confirmed, whatever happens to the connection meanwhile."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random

from aiormq import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from asyncq.rabbitmq.confirming import ConfirmingChannel, NotTaken, Nowhere, Outcome
from asyncq.rabbitmq.faults import explained, is_wrong, mapped
from asyncq.rabbitmq.frames import Message
from asyncq.rabbitmq.reconnecting import Reconnecting
from asyncq.timeouts import AnswerTimeout

MAX_MESSAGES = 500
MAX_BYTES = 1_000_000
"""Bounds of what one call has on its way at a time. More in flight makes nothing faster, and has to be kept twice."""

NOT_TAKEN = 5.0
"""Seconds for which what a queue does not take is offered again: it gets another leader, or is full for good."""

_AGAIN = Backoff(delay=0.02, max_delay=0.5)


class Publisher:
    """Publishes on one channel of a connection. Several callers may use it at the same time.

    Args:
        connections: where there is a connection.
        command_timeout: seconds in which the server must have confirmed, a new connection included.
    """

    def __init__(self, connections: Reconnecting, *, command_timeout: float) -> None:
        self._connections = connections
        self._seconds = command_timeout
        self._channel: ConfirmingChannel | None = None
        self._opening = asyncio.Lock()
        self._random = Random()

    async def publish(self, messages: Sequence[Message], *, insist: bool = True) -> list[PublishRefused | None]:
        """Publish messages, in order, and return once the server has all of them as safe as it keeps anything.

        Those of which nothing is known when a connection is lost are published again on the next one, under the same
        ids: they may be there twice then.

        Args:
            messages: to publish.
            insist: offer what a queue does not take again for a while.

        Returns:
            What each was refused for, or None.

        Raises:
            BrokerUnavailable: the outcome of all of them is unknown.
            ConfigurationError: the user of the URL lacks a right.
        """
        refusals: list[PublishRefused | None] = []
        for part in _parts(messages):
            refusals += await self._publish(part, NOT_TAKEN if insist else 0.0)
        return refusals

    async def _publish(self, messages: Sequence[Message], patience: float) -> list[PublishRefused | None]:
        outcomes: list[Outcome] = [None] * len(messages)
        channel: ConfirmingChannel | None = None
        fault: BaseException | None = None
        failures = 0
        begun = asyncio.get_running_loop().time()
        deadline = begun + self._seconds
        until = begun + min(patience, self._seconds / 2)
        try:
            async with AnswerTimeout(self._seconds):
                while None in outcomes:
                    channel = await self._open_channel(deadline)
                    fault = await channel.send(messages, outcomes)
                    is_offered_again = await self._offers_again(channel, outcomes, until=until)
                    channel = None
                    if fault is not None:
                        self._judge(fault, messages, outcomes)
                    elif not is_offered_again:
                        break
                    failures += 1
                    await asyncio.sleep(_AGAIN.seconds(failures, self._random))
        except TimeoutError as error:
            raise self._unconfirmed(channel, fault) from fault or error
        return [outcome if isinstance(outcome, PublishRefused) else None for outcome in outcomes]

    async def _offers_again(self, channel: ConfirmingChannel, outcomes: list[Outcome], *, until: float) -> bool:
        """Forget that queues have not taken something, and leave the channel on which they have not, if it was early.

        While the node of a queue's leader dies, the others refuse what is for it; the old channel may do so for good.
        """
        not_taken = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, NotTaken)]
        if not not_taken or asyncio.get_running_loop().time() >= until:
            return False
        for index in not_taken:
            outcomes[index] = None
        await channel.retire()
        return True

    async def _open_channel(self, deadline: float) -> ConfirmingChannel:
        """Return a channel, once the server takes something there."""
        while True:
            channel = self._channel
            if channel is None or not channel.is_open:
                await self._renew_channel(deadline)
            elif self._is_blocked:
                await channel.connection.unblocked()
            else:
                return channel

    async def _renew_channel(self, deadline: float) -> None:
        async with self._opening:
            if self._channel is not None and self._channel.is_open:
                return
            connection = await self._connections.connection(seconds=deadline - asyncio.get_running_loop().time())
            await connection.unblocked()  # a blocked one answers nothing
            with suppress(BrokerUnavailable):  # it has ended meanwhile: the next one
                self._channel = await ConfirmingChannel.open(connection)

    def _judge(self, fault: BaseException, messages: Sequence[Message], outcomes: list[Outcome]) -> None:
        """Refuse the messages for which the server has closed the channel, if it was for one of these.

        The others go again on the next one: the server passes over all that comes after what it objects to.
        """
        if isinstance(fault, ChannelAccessRefused):
            raise mapped("publish", self._connections.address, fault) from fault
        for index, message in enumerate(messages):
            if outcomes[index] is None and _is_meant(fault, message):
                kind = Nowhere if isinstance(fault, ChannelNotFoundEntity) else PublishRefused
                outcomes[index] = kind(f"RabbitMQ refused to publish: {explained(fault)}")

    def _unconfirmed(
        self, channel: ConfirmingChannel | None, fault: BaseException | None
    ) -> BrokerUnavailable | ConfigurationError:
        """Return the error to raise when time is up; give the channel up on which a confirm was awaited."""
        address, seconds = self._connections.address, self._seconds
        if self._is_blocked:
            return BrokerUnavailable(
                f"RabbitMQ at {address} takes nothing more: it is short of memory or of disk, and has been for "
                f"{seconds:g} s. What was sent before it said so may still be published."
            )
        if channel is not None:
            # A queue is stuck, the channel, or all of the server. To close the channel in order might be stuck, too.
            channel.connection.abort(TimeoutError(f"Something was not confirmed within {seconds:g} s."))
        fault = fault or self._connections.fault
        if fault is not None and is_wrong(fault):
            return mapped("publish", address, fault)
        said = f" {explained(fault)}" if fault is not None else ""
        return BrokerUnavailable(
            f"RabbitMQ at {address} did not confirm within {seconds:g} s; whether it has the messages is unknown.{said}"
        )

    @property
    def _is_blocked(self) -> bool:
        return self._channel is not None and self._channel.is_open and self._channel.connection.is_blocked


def _is_meant(fault: BaseException, message: Message) -> bool:
    match fault:
        case ChannelNotFoundEntity():
            return f"exchange '{message.exchange}'" in str(fault)
        case ChannelPreconditionFailed():
            return f"size {len(message.body)} " in str(fault)
        case _:
            return False


def _parts(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    start = size = 0
    for index, message in enumerate(messages):
        if index > start and (index - start >= MAX_MESSAGES or size + len(message.body) > MAX_BYTES):
            yield messages[start:index]
            start, size = index, 0
        size += len(message.body)
    if start < len(messages):
        yield messages[start:]
