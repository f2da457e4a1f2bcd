"""The ladder of delays, on a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import NamedTuple

import aiormq
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from pamqp.commands import Basic

from asyncq.rabbitmq import delays
from asyncq.rabbitmq.declaring import Declarer
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.topology import Topology
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.waiting import wait_until

QUEUE = "mail"
EARLY = 0.002
"""The server's timers are rounded to milliseconds."""
IN_FLIGHT = 100


class Arrival(NamedTuple):
    """A message that came out.

    Attributes:
        number: of the message.
        delay: seconds between publishing and arrival.
    """

    number: int
    delay: float


class Ladder:
    """Sends messages through the ladder, and receives them.

    Attributes:
        arrivals: what has come out, in order, the second copies included.
    """

    def __init__(self, names: Names) -> None:
        self.arrivals: list[Arrival] = []
        self._names = names
        self._sent: dict[int, float] = {}
        self._came = asyncio.Event()

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[AbstractConnection]:
        """Declare all, and receive until the end."""
        connection = await aiormq.connect(url)
        try:
            declarer = Declarer(connection.channel, Topology(self._names))
            await declarer.queue(QUEUE)
            await declarer.ladder(map(delays.route, range(16, 8_001, 16)))
            channel = await connection.channel()
            await channel.basic_qos(prefetch_count=IN_FLIGHT)
            await channel.basic_consume(self._names.queue(QUEUE), partial(self._receive, channel))
            yield connection
        finally:
            await connection.close()

    async def send(
        self, channel: AbstractChannel, delays_ms: Sequence[int], *, queue: str = QUEUE, pause: float = 0
    ) -> None:
        """Publish a message for each delay, all confirmed in the end; so many seconds between two."""
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def publish(number: int, delay_ms: int) -> None:
            async with slots:
                route = delays.route(delay_ms)
                self._sent[number] = time.monotonic()
                await channel.basic_publish(
                    str(number).encode(),
                    exchange=self._names.level(route.level),
                    routing_key=route.key(queue),
                    mandatory=True,
                    properties=Basic.Properties(delivery_mode=2, message_id=str(number)),
                )

        async with asyncio.TaskGroup() as group:
            for number, delay_ms in enumerate(delays_ms):
                group.create_task(publish(number, delay_ms))
                if pause:
                    await asyncio.sleep(pause)

    async def receive(self, count: int) -> None:
        """Return when so many different messages have come out."""
        while len({arrival.number for arrival in self.arrivals}) < count:
            self._came.clear()
            await self._came.wait()

    async def _receive(self, channel: AbstractChannel, message: DeliveredMessage) -> None:
        number = int(message.body)
        self.arrivals.append(Arrival(number, time.monotonic() - self._sent[number]))
        self._came.set()
        with suppress(AMQPError, ChannelInvalidStateError):  # the server has ended; it comes again
            await channel.basic_ack(message.delivery_tag or 0)


@pytest.fixture
def ladder(namespace: str) -> Ladder:
    """A ladder of this test."""
    return Ladder(Names(namespace))


async def test_messages_come_out_on_time(ladder: Ladder, rabbitmq_url: str) -> None:
    """Under a light load none is early, and those that met no delay of the machine are late by less than 50 ms."""
    random = Random(7)
    wanted = [random.randint(20, 3_000) for _ in range(300)]
    async with ladder.connected(rabbitmq_url) as connection:
        await ladder.send(await connection.channel(), wanted, pause=0.01)
        await ladder.receive(len(wanted))
    lateness = sorted(arrival.delay - wanted[arrival.number] / 1000 for arrival in ladder.arrivals)
    assert len(lateness) == len(wanted), "each comes once"
    assert lateness[0] > -EARLY
    assert lateness[len(lateness) // 10] < 0.05
    assert lateness[len(lateness) // 2] < 0.5


async def test_none_waits_behind_one_that_is_due_later(ladder: Ladder, rabbitmq_url: str) -> None:
    """A short delay overtakes a long one that was sent before."""
    async with ladder.connected(rabbitmq_url) as connection:
        await ladder.send(await connection.channel(), [3_000, 1_500, 700, 40])
        await ladder.receive(4)
    assert [arrival.number for arrival in ladder.arrivals] == [3, 2, 1, 0]


async def test_a_message_can_go_through_again(ladder: Ladder, rabbitmq_url: str) -> None:
    """What has come out and is sent in again comes out again."""
    async with ladder.connected(rabbitmq_url) as connection:
        channel = await connection.channel()
        for _ in range(2):
            ladder.arrivals.clear()
            await ladder.send(channel, [112])
            await ladder.receive(1)


async def test_what_is_for_no_queue_does_not_stop_the_rest(
    ladder: Ladder, rabbitmq_url: str, rabbitmq_server: RabbitMQServer, namespace: str
) -> None:
    """However many messages become due for a queue that is not there, they are kept aside, and others come out."""
    async with ladder.connected(rabbitmq_url) as connection:
        channel = await connection.channel()
        await ladder.send(channel, [16] * 100, queue="gone")
        await ladder.send(channel, [16])
        await ladder.receive(1)
    await wait_until(lambda: rabbitmq_server.queues()[Names(namespace).stray] == 100, "all the others are kept")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", [RabbitMQServer.kill, RabbitMQServer.stop])
async def test_nothing_is_lost_over_a_restart(
    ladder: Ladder, own_rabbitmq: StartRabbitMQ, end: Callable[[RabbitMQServer], None]
) -> None:
    """What was confirmed comes out, if the server is killed or stopped in the middle; none comes early."""
    random = Random(7)
    wanted = [random.randint(100, 8_000) for _ in range(3_000)]
    server = own_rabbitmq()
    async with ladder.connected(server.url) as connection:
        await asyncio.to_thread(server.flush)
        await ladder.send(await connection.channel(), wanted)
        await ladder.receive(len(wanted) // 3)
        await asyncio.to_thread(end, server)
    before = len(ladder.arrivals)
    assert before < len(wanted), "it ended too late"
    await asyncio.to_thread(server.start)
    async with ladder.connected(server.url):
        await ladder.receive(len(wanted))
    assert min(arrival.delay - wanted[arrival.number] / 1000 for arrival in ladder.arrivals) > -EARLY
