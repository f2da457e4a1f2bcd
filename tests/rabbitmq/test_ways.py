"""The ways to a server that a URL may describe, all the way to a result."""

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from asyncq import RabbitMQBroker, Worker
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import HOST, free_port

VHOST = "eu/shop & söhne %2F"


@pytest.fixture
def vhost(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """The URL of a virtual host with an odd name."""
    rabbitmq_server.control("add_vhost", VHOST)
    rabbitmq_server.control("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    yield f"amqp://guest:guest@{HOST}:{rabbitmq_server.port}/{quote(VHOST, safe='')}"
    rabbitmq_server.control("delete_vhost", VHOST)


async def works(broker: RabbitMQBroker) -> None:
    """See a call to its result."""
    double = broker.task(name="double")(doubled)
    async with broker:
        handle = await double.kiq(21)
        await Worker(broker, burst=True).run()
        assert await asyncio.wait_for(handle, 10) == 42


async def doubled(number: int) -> int:
    """Double it."""
    return 2 * number


async def test_a_virtual_host_with_an_odd_name(vhost: str, namespace: str) -> None:
    """A virtual host may have any name: percent-encoded in the URL, and as it is in messages."""
    broker = RabbitMQBroker(vhost, namespace=namespace)
    await works(broker)
    server, *_ = await broker.check()
    assert server.text.endswith(f"(virtual host {VHOST!r}).")


@pytest.mark.parametrize("spelling", ["a list", "commas", "hosts"])
async def test_the_first_of_several_nodes_is_down(
    rabbitmq_server: RabbitMQServer, namespace: str, spelling: str
) -> None:
    """Where the first node is down, the next one is gone to."""
    down, living = f"{HOST}:{free_port()}", f"{HOST}:{rabbitmq_server.port}"
    urls = {
        "a list": [f"amqp://{down}", f"amqp://{living}"],
        "commas": f"amqp://{down},amqp://{living}",
        "hosts": f"amqp://{down},{living}",
    }
    await works(RabbitMQBroker(urls[spelling], namespace=namespace))
