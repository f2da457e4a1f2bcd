"""The taking: all messages of a queue at once, to look at them; what is not acknowledged goes back to its place."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

from aiormq import ChannelAccessRefused, ChannelNotFoundEntity

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import UNLIMITED, Arrival, ReceivingChannel

_TURN = Backoff(delay=0.02, max_delay=0.3)


@asynccontextmanager
async def taking(client: RabbitClient, queue: str, server_queue: str) -> AsyncGenerator[Sequence[Arrival]]:
    """Give all messages of a queue that are ready, in order, as its only consumer; none where there is no such queue.

    Who comes at the same time waits.

    Raises:
        BrokerUnavailable: also when others would not let go of the queue in time.
    """
    arrivals: list[Arrival] = []
    try:
        channel = await _alone(client, queue, server_queue, arrivals)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, ChannelNotFoundEntity):
            raise
        yield ()
        return
    try:
        while await channel.get():
            pass
        yield arrivals
    finally:
        with suppress(BrokerUnavailable):  # then the server has put back everything already
            await channel.close()


async def _alone(client: RabbitClient, queue: str, server_queue: str, arrivals: list[Arrival]) -> ReceivingChannel:
    """Return a channel that consumes the queue, and nobody else does."""
    random = Random()
    turns = 0
    try:
        async with asyncio.timeout(client.command_timeout):
            while True:
                connection = await client.consuming.connection(seconds=client.command_timeout)
                channel = await ReceivingChannel.open(
                    connection,
                    queue,
                    server_queue,
                    arrivals.append,
                    _nothing,
                    command_timeout=client.command_timeout,
                )
                try:
                    await channel.consume(UNLIMITED, exclusive=True)
                    return channel
                except ConfigurationError as error:
                    if not isinstance(error.__cause__, ChannelAccessRefused):
                        raise
                turns += 1
                await asyncio.sleep(_TURN.seconds(turns, random))
    except TimeoutError as error:
        raise BrokerUnavailable(f"Others look at the queue {server_queue!r} all the time.") from error


def _nothing() -> None:
    """Nobody waits for what this channel tells."""
