"""Publishers for tests, and what they have published."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel

from asyncq.rabbitmq.frames import Message, call_id
from asyncq.rabbitmq.publishing import Publisher
from asyncq.rabbitmq.reconnecting import Reconnecting
from asyncq.rabbitmq.urls import read_urls
from tests.rabbitmq_servers import RabbitMQServer

COMMAND_TIMEOUT = 2.0
CONNECT_TIMEOUT = 1.0


@asynccontextmanager
async def reconnecting(urls: str | Sequence[str]) -> AsyncIterator[Reconnecting]:
    """Keep a connection to these."""
    connections = Reconnecting(read_urls(urls), purpose="testing", connect_timeout=CONNECT_TIMEOUT)
    async with asyncio.TaskGroup() as group:
        doer = group.create_task(connections.run())
        yield connections
        doer.cancel()


@asynccontextmanager
async def publisher(urls: str | Sequence[str], *, command_timeout: float = COMMAND_TIMEOUT) -> AsyncIterator[Publisher]:
    """Publish there."""
    async with reconnecting(urls) as connections:
        yield Publisher(connections, command_timeout=command_timeout)


@asynccontextmanager
async def bare_channel(url: str) -> AsyncIterator[AbstractChannel]:
    """Open a channel without any help of ours."""
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


async def declare(url: str, queue: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Declare a queue that survives its server."""
    async with bare_channel(url) as channel:
        await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **(arguments or {})})


async def take_all(url: str, queue: str) -> list[aiormq.abc.DeliveredMessage]:
    """Take what is in a queue."""
    taken: list[aiormq.abc.DeliveredMessage] = []
    async with bare_channel(url) as channel:
        while (message := await channel.basic_get(queue, no_ack=True)).delivery.name != "Basic.GetEmpty":
            taken.append(message)
    return taken


async def take_ids(url: str, queue: str) -> list[str]:
    """Take what is in a queue, and return the ids of the calls."""
    taken = [message.header.properties for message in await take_all(url, queue)]
    return [call_id(properties.message_id or "", properties.headers) for properties in taken]


async def forget_nothing(server: RabbitMQServer) -> None:
    """Let a node write down which queues it has.

    Erlang does so some seconds later. A quorum queue that is younger when its node is killed has no leader ever after.
    """
    await asyncio.to_thread(server.evaluate, "[dets:sync(Table) || Table <- dets:all()].")


def messages(queue: str, count: int, *, prefix: str = "call", size: int = 100) -> list[Message]:
    """Return so many messages for a queue, with ids from `prefix-0` on."""
    return [Message("", queue, b"x" * size, f"{prefix}-{number}") for number in range(count)]
