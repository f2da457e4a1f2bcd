"""Connections: opened in time to whoever answers, and ended without a trace."""

import asyncio
import socket
import time
from collections.abc import Iterator

import aiormq
import pytest

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.confirming import ConfirmingChannel
from asyncq.rabbitmq.connection import CLOSE_TIMEOUT, Connection, connect
from asyncq.rabbitmq.deliveries import ReceivingChannel
from asyncq.rabbitmq.urls import read_urls
from tests.chaos.proxy import Proxy
from tests.rabbitmq.publishers import CONNECT_TIMEOUT, reconnecting
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import HOST, free_port
from tests.waiting import wait_until

SLACK = 1.5
"""Seconds that a bound may be missed by on a busy machine."""


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted, and nothing is ever said."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


async def opened(*urls: str) -> Connection:
    """Connect to the first of these that answers."""
    return await connect(read_urls(urls), "testing", seconds=CONNECT_TIMEOUT)


async def test_the_server_shows_who_is_connected(rabbitmq_server: RabbitMQServer) -> None:
    """The server tells for what, by which process and from which host a connection is."""
    connection = await opened(rabbitmq_server.url)
    told = await asyncio.to_thread(rabbitmq_server.control, "list_connections", "client_properties")
    await connection.close()
    assert "asyncq testing, process" in told
    assert socket.gethostname() in told


async def test_a_node_that_does_not_answer_is_passed_over(rabbitmq_url: str, silent_port: int) -> None:
    """Of several nodes the first that answers is taken; one that says nothing has its share of the time only."""
    begun = time.monotonic()
    connection = await opened(f"amqp://{HOST}:{free_port()}", f"amqp://{HOST}:{silent_port}", rabbitmq_url)
    assert time.monotonic() - begun < CONNECT_TIMEOUT + SLACK
    assert connection.address in rabbitmq_url
    await connection.close()


@pytest.mark.parametrize("steps", range(1, 6))
@pytest.mark.parametrize("what", ["a publishing channel", "a receiving channel", "a connection"])
async def test_who_is_cancelled_while_it_closes_ends(rabbitmq_url: str, namespace: str, what: str, steps: int) -> None:
    """A task that is cancelled while it closes a channel is cancelled: aiormq swallows that, and it would go on."""
    connection = await opened(rabbitmq_url)
    match what:
        case "a publishing channel":
            close = (await ConfirmingChannel.open(connection)).retire
        case "a receiving channel":
            names = namespace, namespace
            close = (await ReceivingChannel.open(connection, *names, _ignore, _ignore, command_timeout=5)).close
        case _:
            close = connection.close
    closing = asyncio.create_task(close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await connection.close()


def _ignore(*_: object) -> None: ...


async def test_nobody_answers(silent_port: int) -> None:
    """When no node answers, all that were tried are named, and what came of each, without passwords."""
    refusing = free_port()
    with pytest.raises(BrokerUnavailable) as caught:
        await opened(f"amqp://me:secret@{HOST}:{refusing}", f"amqp://{HOST}:{silent_port}", "amqp://host.invalid")
    told = str(caught.value)
    assert f"{HOST}:{refusing}: Connection" in told
    assert f"{HOST}:{silent_port}: no answer within" in told
    assert "host.invalid:5672: " in told
    assert "secret" not in told


async def test_a_connection_that_ends_before_a_word_is_said() -> None:
    """Who accepts connections and resets them is told as a server that does not answer, at whatever moment it does."""
    with Proxy(free_port()) as network:  # behind which there is none
        for _ in range(50):
            with pytest.raises(BrokerUnavailable):
                await opened(network.url("amqp", "/"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://me:wrong@{host}", "ACCESS_REFUSED"),
        ("amqp://{host}/nowhere", "vhost nowhere not found"),
        ("amqps://{host}", "WRONG_VERSION_NUMBER"),
        ("amqp://{host}?auth=external", "lets nobody in by"),
        ("amqps://{host}?cafile=missing.pem", "The certificates of the URL (missing.pem) can't be used"),
    ],
)
async def test_what_no_retry_will_mend_is_a_configuration_error(
    rabbitmq_server: RabbitMQServer, url: str, words: str
) -> None:
    """A wrong password, virtual host, protocol or certificate is told in the server's words."""
    with pytest.raises(ConfigurationError) as caught:
        await opened(url.format(host=f"{HOST}:{rabbitmq_server.port}"))
    assert words in str(caught.value)


async def test_another_server_is_no_rabbitmq(redis_server) -> None:
    """Whatever else answers on the port ends in an error of ours."""
    with pytest.raises((BrokerUnavailable, ConfigurationError), match="No connection to RabbitMQ"):
        await opened(f"amqp://{HOST}:{redis_server.port}")


async def test_cancelling_at_any_point_leaves_nothing_behind(rabbitmq_url: str) -> None:
    """A caller may be cancelled at any point of connecting, of opening a channel and of closing."""

    async def live() -> None:
        connection = await opened(rabbitmq_url)
        try:
            await connection.channel(confirms=True)
        finally:
            await connection.close()

    begun = time.monotonic()
    await live()
    seconds = time.monotonic() - begun
    for step in range(40):
        life = asyncio.ensure_future(live())
        await asyncio.wait([life], timeout=1.2 * seconds * step / 40)
        life.cancel()
        await asyncio.wait([life])
    await wait_until(lambda: len(asyncio.all_tasks()) <= 2, "nothing of them runs any more")


async def test_a_connection_that_is_cut_off_is_closed_in_time(rabbitmq_server: RabbitMQServer) -> None:
    """Closing waits a moment for a server that does not say goodbye, and leaves nothing behind."""
    with Proxy(rabbitmq_server.port) as network:
        connection = await opened(network.url("amqp", "/"))
        network.blackhole()
        begun = time.monotonic()
        await connection.close()
        assert time.monotonic() - begun < CLOSE_TIMEOUT + SLACK


async def test_a_channel_that_is_not_opened_gives_its_connection_up(rabbitmq_server: RabbitMQServer) -> None:
    """Whoever loses patience with the opening of a channel ends the connection: nobody else would get further."""
    with Proxy(rabbitmq_server.port) as network:
        connection = await opened(network.url("amqp", "/"))
        network.blackhole()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.channel()
        assert connection.ended.is_set()
        with pytest.raises(BrokerUnavailable):
            await connection.channel()
        await connection.close()


@pytest.mark.parametrize("how", ["reset", "ended", "closed by an operator"])
async def test_the_end_of_a_connection_is_told(rabbitmq_server: RabbitMQServer, how: str) -> None:
    """Whoever ends a connection: it is told at once, and what is asked of it afterwards says why."""
    with Proxy(rabbitmq_server.port) as network:
        connection = await opened(network.url("amqp", "/"))
        if how == "closed by an operator":
            await asyncio.to_thread(rabbitmq_server.close_connections)
        else:
            network.cut(reset=how == "reset")
        async with asyncio.timeout(SLACK):
            await connection.ended.wait()
        with pytest.raises(BrokerUnavailable, match="has ended") as caught:
            await connection.channel()
        await connection.close()
    if how == "closed by an operator":
        assert "CONNECTION_FORCED" in str(caught.value)


async def test_a_refused_channel_operation_leaves_the_connection(rabbitmq_url: str, namespace: str) -> None:
    """What the server refuses on one channel ends that channel only."""
    connection = await opened(rabbitmq_url)
    channel = await connection.channel()
    with pytest.raises(aiormq.ChannelNotFoundEntity):
        await channel.queue_declare(namespace, passive=True)
    await connection.channel()
    assert not connection.ended.is_set()
    await connection.close()


async def test_there_is_a_connection_again(rabbitmq_server: RabbitMQServer) -> None:
    """A connection that was lost is replaced, and those who wait for one get it."""
    with Proxy(rabbitmq_server.port) as network:
        async with reconnecting(network.url("amqp", "/")) as connections:
            first = await connections.open()
            network.refuse()
            network.cut()
            await first.ended.wait()
            with pytest.raises(BrokerUnavailable, match="does not answer"):
                await connections.connection(seconds=0.3)
            network.heal()
            second = await connections.connection(seconds=10)
            assert second is not first
            assert first.ended.is_set()
            assert not second.ended.is_set()
            assert connections.connections == 2


async def test_the_first_try_tells_what_stood_in_its_way() -> None:
    """Opening does not wait for a server that is not there."""
    async with reconnecting(f"amqp://{HOST}:{free_port()}") as connections:
        with pytest.raises(BrokerUnavailable, match=r"No connection to RabbitMQ\. Tried"):
            await connections.open()


async def test_a_wrong_password_is_told_to_who_waits(rabbitmq_server: RabbitMQServer) -> None:
    """Nobody waits out the time limit for a connection that is refused for good."""
    async with reconnecting(f"amqp://me:wrong@{HOST}:{rabbitmq_server.port}") as connections:
        with pytest.raises(ConfigurationError, match="ACCESS_REFUSED"):
            await connections.connection(seconds=30)


async def test_after_the_end_there_is_none(rabbitmq_url: str) -> None:
    """Whoever waits when the connection is closed for good is told, and whoever asks later, too."""
    async with reconnecting(f"amqp://{HOST}:{free_port()}") as connections:
        waiting = asyncio.ensure_future(connections.connection(seconds=30))
        await asyncio.sleep(0)
    with pytest.raises(BrokerUnavailable, match="is closed"):
        await waiting
    with pytest.raises(BrokerUnavailable, match="is closed"):
        await connections.connection(seconds=30)


async def test_closing_while_connecting(silent_port: int) -> None:
    """Closing does not wait for a server that says nothing."""
    begun = time.monotonic()
    async with reconnecting(f"amqp://{HOST}:{silent_port}"):
        await asyncio.sleep(0.05)
    assert time.monotonic() - begun < SLACK
