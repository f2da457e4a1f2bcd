"""The log while connections are lost: what asyncq says, and what aiormq does not."""

import asyncio
import logging

import aiormq
import pytest

from asyncq import RabbitMQBroker
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import HOST
from tests.waiting import wait_until


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """Return what was said by a logger and those below it."""
    return [record.getMessage() for record in caplog.records if record.name.startswith(logger)]


async def test_a_lost_connection_is_said_once(
    rabbitmq_server: RabbitMQServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that publishes and hears of results has two connections, and says once that they are lost, or back."""
    caplog.set_level(logging.INFO)
    async with RabbitMQBroker(rabbitmq_server.url, namespace=namespace) as broker:
        await broker.task(name="add")(add).kiq(1, 2)
        await asyncio.to_thread(rabbitmq_server.close_connections)
        await wait_until(lambda: len(lines(caplog, "asyncq")) >= 2, "the log says that it is over")
    lost, back = lines(caplog, "asyncq")
    assert lost.startswith(f"The connection to RabbitMQ at {HOST}:{rabbitmq_server.port} has ended. ")
    assert lost.endswith(" Connecting again.")
    assert back == f"Connected to RabbitMQ at {HOST}:{rabbitmq_server.port} again."
    assert lines(caplog, "aiormq") == []


async def test_connections_of_others_are_logged(
    rabbitmq_server: RabbitMQServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a program has through aiormq beside asyncq is logged as ever; ours, too, where aiormq's level is DEBUG."""
    async with RabbitMQBroker(rabbitmq_server.url, namespace=namespace) as broker:
        await broker.queue_counts()
        theirs = await aiormq.connect(rabbitmq_server.url)
        await asyncio.to_thread(rabbitmq_server.close_connections)
        await wait_until(lambda: bool(lines(caplog, "asyncq")), "ours is seen to be lost")
        # That it is closed, and the traceback.
        await wait_until(lambda: len(lines(caplog, "aiormq.connection")) == 2, "theirs is seen to be lost")
        await theirs.close()

        caplog.clear()
        caplog.set_level(logging.DEBUG, "aiormq")
        await broker.queue_counts()
        await asyncio.to_thread(rabbitmq_server.close_connections)
        await wait_until(lambda: any("Unexpected connection close" in line for line in lines(caplog, "aiormq")), "it")


async def add(a: int, b: int) -> int:
    """Add."""
    return a + b
