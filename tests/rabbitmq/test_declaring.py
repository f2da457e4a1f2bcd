"""Declaring, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiormq
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq import delays
from asyncq.rabbitmq.declaring import CHANNELS, MAX_LINES, Declarer
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.topology import DELIVERY_LIMIT, Queue, Topology, definitions, text
from tests.rabbitmq_servers import RabbitMQServer
from tests.waiting import wait_until


class Channels:
    """Opens channels, and knows them."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.opened: list[AbstractChannel] = []

    async def __call__(self) -> AbstractChannel:
        self.opened.append(await self.connection.channel())
        return self.opened[-1]


@pytest.fixture
async def channels(rabbitmq_url: str) -> AsyncIterator[Channels]:
    """Channels of one connection, of which none may be open at the end."""
    connection = await aiormq.connect(rabbitmq_url)
    channels = Channels(connection)
    yield channels
    assert all(channel.is_closed for channel in channels.opened)
    await connection.close()


@pytest.fixture
def topology(namespace: str) -> Topology:
    """A topology of this test, whose queue `urgent` has priorities."""
    return Topology(Names(namespace), {"urgent": 2})


async def test_what_is_known_costs_nothing(channels: Channels, topology: Topology) -> None:
    """A queue is declared once, whoever asks for it at the same time or later."""
    declarer = Declarer(channels, topology)
    await asyncio.gather(*(declarer.queue("mail") for _ in range(10)))
    assert len(channels.opened) <= 2 * CHANNELS
    opened = len(channels.opened)
    await declarer.queue("mail")
    assert len(channels.opened) == opened
    await declarer.queue("urgent")
    assert await publish(channels, topology.names.ready, "mail")
    assert await publish(channels, topology.names.ready, "urgent")


async def test_only_the_rungs_that_are_needed_are_declared(
    channels: Channels, topology: Topology, rabbitmq_server: RabbitMQServer
) -> None:
    """A delay brings the queues that it waits in."""
    declarer = Declarer(channels, topology)
    await declarer.ladder([delays.route(100)])
    assert waits_ms(rabbitmq_server, topology) == [48, 64]
    await declarer.ladder([delays.route(1), delays.route(300)])
    assert waits_ms(rabbitmq_server, topology) == [16, 48, 64, 256]


async def test_a_delay_leads_to_a_queue(channels: Channels, topology: Topology) -> None:
    """What enters the ladder is returned to nobody, even for a queue whose name ends like another's."""
    declarer = Declarer(channels, topology)
    await declarer.queue("b")
    await declarer.queue("a.b")
    await declarer.ladder([delays.route(16)])
    assert await publish(channels, topology.names.level(0), delays.route(16).key("a.b"))
    channel = await channels()
    assert await hand_back(channel, topology.names.queue("a.b")) == 0
    assert (await channel.basic_get(topology.names.queue("b"))).body == b""
    await channel.close()


async def test_what_is_never_settled_becomes_a_dead_letter(channels: Channels, topology: Topology) -> None:
    """The server puts a message among the dead letters after 20 deliveries too many, also if it was delayed."""
    declarer = Declarer(channels, topology)
    await declarer.queue("mail")
    await declarer.ladder([delays.route(16)])
    assert await publish(channels, topology.names.level(0), delays.route(16).key("mail"))
    channel = await channels()
    waiting, dead = topology.names.queue("mail"), topology.names.dead_letters("mail")
    for count in range(DELIVERY_LIMIT + 1):
        assert await hand_back(channel, waiting) == count
    assert await hand_back(channel, dead) in (0, DELIVERY_LIMIT + 1)  # RabbitMQ 4.3 goes on counting
    await channel.close()


async def test_a_dead_letter_can_be_looked_at_for_ever(channels: Channels, topology: Topology) -> None:
    """Getting a letter and handing it back counts as a delivery, and yet it stays."""
    await Declarer(channels, topology).queue("mail")
    assert await publish(channels, topology.names.dead, "mail")
    channel = await channels()
    for count in range(2 * DELIVERY_LIMIT):
        assert await hand_back(channel, topology.names.dead_letters("mail")) == count
    await channel.close()


async def test_a_mismatch_says_what_differs_and_what_to_do(channels: Channels, topology: Topology) -> None:
    """Where there is a queue with other arguments, the error names it, the argument and both values."""
    name = topology.names.queue("mail")
    (wanted,) = (part for part in topology.queue("mail") if isinstance(part, Queue) and part.name == name)
    channel = await channels()
    await channel.queue_declare(name, durable=True, arguments={**dict(wanted.arguments), "x-delivery-limit": 7})
    await channel.close()
    with pytest.raises(ConfigurationError, match="x-delivery-limit is 7, and asyncq wants 20") as caught:
        await Declarer(channels, topology).queue("mail")
    assert name in str(caught.value)
    assert "another namespace" in str(caught.value)


async def test_a_queue_that_loses_its_priorities_is_a_mismatch(channels: Channels, topology: Topology) -> None:
    """A queue that was declared with priorities cannot become one without."""
    await Declarer(channels, topology).queue("urgent")
    with pytest.raises(ConfigurationError, match="with other arguments"):
        await Declarer(channels, Topology(topology.names)).queue("urgent")


async def test_after_an_error_the_rest_can_be_declared(channels: Channels, topology: Topology) -> None:
    """What failed is tried again when it is next asked for."""
    channel = await channels()
    await channel.queue_declare(topology.names.queue("mail"), durable=True)
    declarer = Declarer(channels, topology)
    with pytest.raises(ConfigurationError, match="with other arguments"):
        await declarer.queue("mail")
    await channel.queue_delete(topology.names.queue("mail"))
    await channel.close()
    await declarer.queue("mail")
    assert await publish(channels, topology.names.ready, "mail")


async def test_what_was_deleted_is_declared_again_once_forgotten(channels: Channels, topology: Topology) -> None:
    """A declarer that has forgotten looks at the server again."""
    declarer = Declarer(channels, topology)
    await declarer.reply("7f")
    channel = await channels()
    await channel.queue_delete(topology.names.reply("7f"))
    await declarer.reply("7f")
    declarer.forget()
    await declarer.reply("7f")
    assert (await channel.queue_declare(topology.names.reply("7f"), passive=True)).message_count == 0
    await channel.close()


async def test_without_declaring_all_that_is_missing_is_listed(
    channels: Channels, topology: Topology, rabbitmq_server: RabbitMQServer, tmp_path: Path
) -> None:
    """With declare=False what is missing is told, and what the topology defines is, imported, all that was needed."""
    declarer = Declarer(channels, topology, declare=False)
    file = tmp_path / "definitions.json"
    for ask, missing in (
        (lambda: declarer.queue("mail"), topology.queue("mail")),
        (lambda: declarer.queue("urgent"), topology.queue("urgent")[7:]),  # the exchanges are there by now
        (lambda: declarer.ladder([delays.route(300)]), topology.ladder(delays.rungs_up_to(2))[4:]),
    ):
        with pytest.raises(ConfigurationError, match="declare=False") as caught:
            await ask()
        assert text(missing, most=MAX_LINES) in str(caught.value)
        file.write_text(definitions(missing))
        rabbitmq_server.control("import_definitions", str(file))
        await ask()
    declarer = Declarer(channels, topology)
    await declarer.queue("mail")
    await declarer.queue("urgent")
    await declarer.ladder([delays.route(300)])


async def test_without_declaring_nothing_is_made(channels: Channels, topology: Topology) -> None:
    """With declare=False only a process's own queue of replies is made."""
    declarer = Declarer(channels, topology, declare=False)
    with pytest.raises(ConfigurationError):
        await declarer.queue("mail")
    with pytest.raises(ChannelNotFoundEntity):
        await (await channels()).exchange_declare(topology.names.ready, passive=True)
    await declarer.reply("7f")
    await Declarer(channels, topology).reply("7f")


async def test_a_missing_right_is_named(
    channels: Channels, topology: Topology, rabbitmq_server: RabbitMQServer, namespace: str
) -> None:
    """A user who may not declare is told so, and can go on where everything is there."""
    rabbitmq_server.control("add_user", namespace, "secret")
    rabbitmq_server.control("set_permissions", namespace, "^$", ".*", ".*")
    connection = await aiormq.connect(rabbitmq_server.url.replace("guest:guest", f"{namespace}:secret"))
    with pytest.raises(ConfigurationError, match="may not declare"):
        await Declarer(Channels(connection), topology).queue("mail")
    await Declarer(channels, topology).queue("mail")
    await Declarer(Channels(connection), topology, declare=False).queue("mail")
    await connection.close()
    rabbitmq_server.control("delete_user", namespace)


async def publish(channels: Channels, exchange: str, key: str) -> bool:
    """Publish, and tell whether it was confirmed."""
    channel = await channels()
    confirmation = await channel.basic_publish(b"x", exchange=exchange, routing_key=key, mandatory=True)
    await channel.close()
    return isinstance(confirmation, aiormq.spec.Basic.Ack)


async def hand_back(channel: AbstractChannel, queue: str) -> int:
    """Wait for a message, hand it back, and return how often it had been delivered before."""

    async def get() -> bool:
        nonlocal message
        message = await channel.basic_get(queue)
        return isinstance(message.delivery, aiormq.spec.Basic.GetOk)

    message: aiormq.abc.DeliveredMessage | None = None
    await wait_until(get, "a message is there")
    assert message
    assert message.delivery_tag
    await channel.basic_reject(message.delivery_tag, requeue=True)  # which counts in every version, unlike a `nack`
    headers = message.header.properties.headers or {}
    count = headers.get("x-delivery-count", 0)
    assert isinstance(count, int)
    return count


def waits_ms(server: RabbitMQServer, topology: Topology) -> list[int]:
    """Return how long messages wait in the queues of the ladder that there are."""
    prefix = f"{topology.names.due}:"
    return sorted(int(name.removeprefix(prefix)) for name in server.queues() if name.startswith(prefix))
