"""The taking: all messages of a queue at once, to look at them; what is not acknowledged goes back to its place."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

from aiormq import ChannelLockedResource

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import UNLIMITED, Arrival, ReceivingChannel

SEEN_AGAIN = 1.0
"""Seconds in which messages that were put back are to be seen; one whose time is over meanwhile never is."""

_TURN = Backoff(delay=0.02, max_delay=0.3)
_LOOK = Backoff(delay=0.002, max_delay=0.1)


@asynccontextmanager
async def taking(
    client: RabbitClient, queue: str, server_queue: str, lock: str
) -> AsyncGenerator[Sequence[Arrival], None]:
    """Give all messages of a queue that are ready, in order; none where there is no such queue.

    Meanwhile there is nothing in it to see. So whoever comes at the same time, from wherever, waits: by a queue that is
    there for one connection only. (Quorum queues let everybody be their "exclusive" consumer.)

    Raises:
        BrokerUnavailable: also when others do not finish in time.
    """
    if await client.is_missing(server_queue):
        yield ()
        return
    arrivals: list[Arrival] = []
    channel = await _locked(client, queue, server_queue, lock, arrivals)
    try:
        try:
            await channel.consume(UNLIMITED)
            while await channel.get():
                pass
            yield arrivals
        finally:
            await _give_back(client, channel, server_queue, len(arrivals))
    finally:
        with suppress(BrokerUnavailable):  # it ends with the connection
            await channel.call("unlock", channel.channel.queue_delete(lock))
            await channel.close()


async def _give_back(client: RabbitClient, channel: ReceivingChannel, server_queue: str, taken: int) -> None:
    """Put the messages back, and wait until they are to be seen: the next one is to find all of them."""
    random = Random()
    with suppress(BrokerUnavailable, TimeoutError):  # the server puts them back itself
        async with asyncio.timeout(client.command_timeout):
            await channel.cancel()
            expected = taken - channel.settled
            channel.acknowledge_now()
            await channel.call("give back", channel.channel.basic_nack(0, multiple=True, requeue=True))
            looks, until = 0, time.monotonic() + SEEN_AGAIN
            while time.monotonic() < until and await client.count(server_queue) < expected:
                looks += 1
                await asyncio.sleep(_LOOK.seconds(looks, random))


async def _locked(
    client: RabbitClient, queue: str, server_queue: str, lock: str, arrivals: list[Arrival]
) -> ReceivingChannel:
    """Return a channel that consumes the queue, on the connection that has the lock."""
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
                    declaring = channel.channel.queue_declare(lock, exclusive=True, auto_delete=True)
                    await channel.call("lock", declaring)
                    return channel
                except BrokerUnavailable as error:
                    if not isinstance(error.__cause__, ChannelLockedResource):
                        raise
                turns += 1
                await asyncio.sleep(_TURN.seconds(turns, random))
    except TimeoutError as error:
        raise BrokerUnavailable(f"Others look at {server_queue!r} all the time.") from error


def _nothing() -> None:
    """Nobody waits for what this channel tells."""
