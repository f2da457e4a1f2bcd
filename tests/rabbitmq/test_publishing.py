"""Publishing: what is confirmed is there, what is refused is told why, and nothing hangs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from asyncq.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from asyncq.rabbitmq.confirming import Unconfirmed
from asyncq.rabbitmq.frames import Message
from asyncq.rabbitmq.publishing import MAX_MESSAGES, Publisher
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.rabbitmq.publishers import (
    COMMAND_TIMEOUT,
    bare_channel,
    declare,
    forget_nothing,
    messages,
    publisher,
    reconnecting,
    take_all,
    take_ids,
)
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.servers import HOST, free_port
from tests.waiting import wait_until

SLACK = 1.5
"""Seconds that a bound may be missed by on a busy machine."""


@pytest.fixture(scope="module")
def rough_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """A node that the tests of this module may treat badly, if they leave it running."""
    with RabbitMQServer(tmp_path_factory.mktemp("rough")) as server:
        yield server


@asynccontextmanager
async def frozen(server: RabbitMQServer) -> AsyncIterator[None]:
    """A server that stands still."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@asynccontextmanager
async def short_of_memory(server: RabbitMQServer) -> AsyncIterator[None]:
    """A server that takes nothing more."""
    await asyncio.to_thread(server.block_publishers)
    try:
        yield
    finally:
        await asyncio.to_thread(server.unblock_publishers)


async def test_all_of_a_batch_is_there_in_order(rabbitmq_url: str, namespace: str) -> None:
    """A batch of any size arrives whole and in order, persistent, under the ids of its calls."""
    await declare(rabbitmq_url, namespace)
    batch = messages(namespace, 2 * MAX_MESSAGES + 1)
    async with publisher(rabbitmq_url) as publishing:
        assert await publishing.publish(batch) == [None] * len(batch)
        assert await publishing.publish([]) == []
    taken = await take_all(rabbitmq_url, namespace)
    assert [message.header.properties.delivery_mode for message in taken] == [2] * len(batch)
    assert [message.body for message in taken] == [message.body for message in batch]


async def test_bodies_headers_and_priorities_arrive(rabbitmq_url: str, namespace: str) -> None:
    """Empty and large bodies, headers and priorities arrive as they were given."""
    await declare(rabbitmq_url, namespace, {"x-queue-type": "classic", "x-max-priority": 3})
    batch = [
        Message("", namespace, b"", "empty"),
        Message("", namespace, b"large" * 100_000, "large"),
        Message("", namespace, b"body", "headers", {"due": 2**40, "name": "ä"}),
        Message("", namespace, b"body", "first", None, 2),
    ]
    async with publisher(rabbitmq_url) as publishing:
        assert await publishing.publish(batch) == [None] * 4
    first, empty, large, headers = await take_all(rabbitmq_url, namespace)
    assert first.header.properties.priority == 2
    assert empty.body == b""
    assert large.body == b"large" * 100_000
    assert headers.header.properties.headers == {"due": 2**40, "name": "ä"}


async def test_concurrent_batches_share_a_channel(rabbitmq_url: str, namespace: str) -> None:
    """Batches of several callers at once all arrive, equal ids among them included."""
    await declare(rabbitmq_url, namespace)
    async with publisher(rabbitmq_url) as publishing:
        batches = [publishing.publish(messages(namespace, 50)) for _ in range(10)]
        for receipts in await asyncio.gather(*batches):
            assert receipts == [None] * 50
    assert sorted(await take_ids(rabbitmq_url, namespace)) == sorted(f"call-{n}" for n in range(50) for _ in range(10))


async def test_a_missing_queue_refuses_its_own_messages_only(rabbitmq_url: str, namespace: str) -> None:
    """What no queue takes is refused by name, each copy of an id for itself; the rest of the batch is published."""
    await declare(rabbitmq_url, namespace)
    lost = Message("", f"{namespace}.gone", b"body", "twice")
    async with publisher(rabbitmq_url) as publishing:
        receipts = await publishing.publish([lost, *messages(namespace, 2), lost])
    assert receipts[1:3] == [None, None]
    for refused in (receipts[0], receipts[3]):
        assert isinstance(refused, PublishRefused)
        assert f"no queue '{namespace}.gone'" in str(refused)
    assert await take_ids(rabbitmq_url, namespace) == ["call-0", "call-1"]


async def test_a_full_queue_refuses(rabbitmq_url: str, namespace: str) -> None:
    """A queue that rejects what is too much makes that much refused, and takes more when it has room again."""
    await declare(rabbitmq_url, namespace, {"x-max-length": 5, "x-overflow": "reject-publish"})
    async with publisher(rabbitmq_url) as publishing:
        refusals: list[PublishRefused] = []
        while not refusals:  # a quorum queue takes a few more than it may have
            refusals = [receipt for receipt in await publishing.publish(messages(namespace, 20)) if receipt]
        assert "the queue is full" in str(refusals[0])
        await take_all(rabbitmq_url, namespace)
        await wait_until(lambda: _is_taken(publishing, namespace), "it takes messages again")


async def test_what_is_not_taken_is_offered_again(rabbitmq_url: str, namespace: str) -> None:
    """A queue that takes a message a moment later has it, once; what else is on its way meanwhile is not disturbed."""
    await declare(rabbitmq_url, namespace, {"x-max-length": 1, "x-overflow": "reject-publish"})
    await declare(rabbitmq_url, f"{namespace}-other")
    async with publisher(rabbitmq_url, command_timeout=20) as publishing:
        assert await publishing.publish(messages(namespace, 1, prefix="first")) == [None]
        filling = asyncio.create_task(publishing.publish(messages(namespace, 5)))
        others = [publishing.publish(messages(f"{namespace}-other", 50)) for _ in range(10)]
        for receipts in await asyncio.gather(*others):
            assert receipts == [None] * 50
        taken: list[str] = []
        while not filling.done():
            taken += await take_ids(rabbitmq_url, namespace)
        assert await filling == [None] * 5
    taken += await take_ids(rabbitmq_url, namespace)
    assert sorted(taken) == [*(f"call-{number}" for number in range(5)), "first-0"]
    assert len(await take_all(rabbitmq_url, f"{namespace}-other")) == 500


async def test_a_stuck_queue_holds_up_nothing_else(rabbitmq_server: RabbitMQServer, namespace: str) -> None:
    """Who asks for what is known in part is told which messages were not confirmed in time; others go on meanwhile."""
    url, other = rabbitmq_server.url, f"{namespace}-other"
    await declare(url, namespace, {"x-queue-type": "classic"})
    await declare(url, other)
    queue = f'{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{namespace}">>)),'
    await asyncio.to_thread(rabbitmq_server.evaluate, f"{queue} sys:suspend(amqqueue:get_pid(Queue)).")
    try:
        async with reconnecting(url) as connections:
            publishing = Publisher(connections, command_timeout=COMMAND_TIMEOUT)
            batch = [*messages(namespace, 1), *messages(other, 1)]
            stuck = asyncio.create_task(publishing.publish(batch, in_part=True))
            while not stuck.done():
                assert await publishing.publish(messages(other, 1)) == [None]
            unconfirmed, confirmed = await stuck
            assert isinstance(unconfirmed, Unconfirmed)
            assert confirmed is None
            assert connections.connections == 1
            with pytest.raises(BrokerUnavailable, match="did not confirm"):
                await publishing.publish(batch)
    finally:
        await asyncio.to_thread(rabbitmq_server.evaluate, f"{queue} sys:resume(amqqueue:get_pid(Queue)).")


async def _is_taken(publishing, queue: str) -> bool:
    return await publishing.publish(messages(queue, 1)) == [None]


async def test_a_missing_exchange_refuses_its_own_messages_only(rabbitmq_url: str, namespace: str) -> None:
    """The server closes the channel for an exchange that is gone: its messages are refused, all others arrive."""
    await declare(rabbitmq_url, namespace)
    lost = Message(f"{namespace}.gone", namespace, b"body", "lost")
    async with publisher(rabbitmq_url) as publishing:
        around = asyncio.gather(*(publishing.publish(messages(namespace, 5, prefix=f"{n}")) for n in range(3)))
        first, refused, last = await publishing.publish([*messages(namespace, 1), lost, *messages(namespace, 1)])
        assert first is last is None
        assert isinstance(refused, PublishRefused)
        assert f"no exchange '{namespace}.gone'" in str(refused)
        assert await around == [[None] * 5] * 3
        assert await publishing.publish(messages(namespace, 1, prefix="later")) == [None]
    taken = set(await take_ids(rabbitmq_url, namespace))
    assert taken == {"call-0", "later-0", *(f"{n}-{k}" for n in range(3) for k in range(5))}


async def test_a_message_that_is_too_large_is_refused(own_rabbitmq: StartRabbitMQ, namespace: str) -> None:
    """What is larger than the server allows is refused by its size, and its neighbours are published."""
    server = own_rabbitmq("max_message_size = 10000")
    await declare(server.url, namespace)
    large = Message("", namespace, b"x" * 10_001, "large")
    async with publisher(server.url) as publishing:
        receipts = await publishing.publish([*messages(namespace, 1), large, *messages(namespace, 1)])
    assert [type(receipt) for receipt in receipts] == [type(None), PublishRefused, type(None)]
    assert "10001" in str(receipts[1])


async def test_a_right_that_is_missing_is_told(rabbitmq_server: RabbitMQServer, namespace: str) -> None:
    """Who may not write is told so at once, in the server's words."""
    await asyncio.to_thread(rabbitmq_server.control, "add_user", namespace, "password")
    await asyncio.to_thread(rabbitmq_server.control, "set_permissions", namespace, "", "^none$", "")
    url = rabbitmq_server.url.replace("guest:guest", f"{namespace}:password")
    async with publisher(url, command_timeout=30) as publishing:
        with pytest.raises(ConfigurationError, match="ACCESS_REFUSED"):
            await publishing.publish([Message("amq.direct", "key", b"body", "id")])
    await asyncio.to_thread(rabbitmq_server.control, "delete_user", namespace)


async def test_without_a_server_it_is_told_why() -> None:
    """Where no server can be reached, the error says who was tried and what came of it, in time."""
    begun = time.monotonic()
    async with publisher(f"amqp://{HOST}:{free_port()}", command_timeout=0.5) as publishing:
        with pytest.raises(BrokerUnavailable, match=r"Connection refused|Connect call failed"):
            await publishing.publish(messages("queue", 1))
    assert time.monotonic() - begun < 0.5 + SLACK


async def test_a_cancelled_caller_disturbs_nobody(rabbitmq_url: str, namespace: str) -> None:
    """A caller that is cancelled at any point leaves the channel as it is for others."""
    await declare(rabbitmq_url, namespace)
    async with publisher(rabbitmq_url) as publishing:
        for turns in range(20):
            caller = asyncio.ensure_future(publishing.publish(messages(namespace, 20, prefix="cancelled")))
            other = asyncio.ensure_future(publishing.publish(messages(namespace, 1, prefix=f"other-{turns}")))
            for _ in range(turns):
                await asyncio.sleep(0)
            caller.cancel()
            with suppress(asyncio.CancelledError):
                await caller
            assert await other == [None]
    taken = await take_ids(rabbitmq_url, namespace)
    assert {id for id in taken if id.startswith("other")} == {f"other-{turns}-0" for turns in range(20)}


async def test_what_is_confirmed_outlives_the_server(own_rabbitmq: StartRabbitMQ, namespace: str) -> None:
    """What is confirmed is there after the server was killed in the same moment."""
    server = own_rabbitmq()
    await declare(server.url, namespace)
    await forget_nothing(server)
    async with publisher(server.url) as publishing:
        await publishing.publish(messages(namespace, 300))
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    ids = await take_ids(server.url, namespace)
    assert ids == [f"call-{number}" for number in range(300)]


@pytest.mark.timeout(300)  # a node ends and starts, and thousands of messages are taken one by one
@pytest.mark.parametrize("how", [RabbitMQServer.kill, RabbitMQServer.stop], ids=["killed", "stopped"])
async def test_a_batch_goes_on_when_the_server_comes_back(
    own_rabbitmq: StartRabbitMQ, namespace: str, how: Callable[[RabbitMQServer], None]
) -> None:
    """Batches that are under way when the server ends, end when it is back: each message is there once or twice."""
    server = own_rabbitmq()
    await declare(server.url, namespace)
    await forget_nothing(server)
    confirmed: set[str] = set()

    async def publish_until(stop: asyncio.Event, name: int) -> None:
        number = 0
        while not stop.is_set():
            batch = messages(namespace, 50, prefix=f"{name}-{number}")
            assert await publishing.publish(batch) == [None] * 50
            confirmed.update(message.id for message in batch)
            number += 1

    async with publisher(server.url, command_timeout=60) as publishing, asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        for name in range(4):
            group.create_task(publish_until(stop, name))
        await wait_until(lambda: len(confirmed) > 1_000, "the batches flow")
        await asyncio.to_thread(how, server)
        await asyncio.to_thread(server.start)
        before = len(confirmed)
        await wait_until(lambda: len(confirmed) > before + 500, "they flow again", timeout=60)
        stop.set()
    taken = await take_ids(server.url, namespace)
    assert set(taken) == confirmed
    assert len(taken) - len(confirmed) <= 4 * 50


async def test_a_server_without_memory_is_named_in_time(
    rough_server: RabbitMQServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While the server takes nothing, publishing says so within its time, and goes on when it takes messages again."""
    caplog.set_level(logging.INFO, "asyncq")
    await declare(rough_server.url, namespace)
    async with publisher(rough_server.url) as publishing:
        await publishing.publish(messages(namespace, 1))
        async with short_of_memory(rough_server):
            for _ in range(2):
                with pytest.raises(BrokerUnavailable, match="short of memory or of disk"):
                    async with asyncio.timeout(COMMAND_TIMEOUT + SLACK):
                        await publishing.publish(messages(namespace, 10, prefix="blocked"))
            async with publisher(rough_server.url) as newcomer:
                with pytest.raises(BrokerUnavailable, match="short of memory or of disk"):
                    await newcomer.publish(messages(namespace, 1, prefix="newcomer"))
            waiting = asyncio.ensure_future(publishing.publish(messages(namespace, 1, prefix="waited")))
            await asyncio.sleep(0)
        assert await waiting == [None]
    taken = await take_ids(rough_server.url, namespace)
    assert taken.count("waited-0") == 1
    assert taken.count("blocked-0") <= 1  # the second one was not even sent
    said = [record.getMessage() for record in caplog.records if "takes" in record.getMessage()]
    assert said[0].endswith("takes no messages: it is short of memory or of disk.")
    assert said[-1].endswith("takes messages again.")


async def test_a_frozen_server_is_given_up_in_time(rough_server: RabbitMQServer, namespace: str) -> None:
    """While the server stands still, publishing fails within its time, and works as soon as it goes on."""
    await declare(rough_server.url, namespace)
    async with publisher(rough_server.url) as publishing:
        await publishing.publish(messages(namespace, 1))
        async with frozen(rough_server):
            for _ in range(2):
                begun = time.monotonic()
                with pytest.raises(BrokerUnavailable, match=r"did not confirm|does not answer"):
                    await publishing.publish(messages(namespace, 10))
                assert time.monotonic() - begun < COMMAND_TIMEOUT + SLACK
        assert await publishing.publish(messages(namespace, 1, prefix="later")) == [None]


@pytest.mark.parametrize("size", [100, 1_000_000])
@pytest.mark.parametrize("fault", ["reset", "ended", "blackholed", "deaf"])
async def test_a_broken_network_is_survived(
    rabbitmq_url: str, rabbitmq_server, namespace: str, fault: str, size: int
) -> None:
    """However the network breaks under a batch, and whatever is still to be sent: it ends, and later ones work."""
    await declare(rabbitmq_url, namespace)
    with Proxy(rabbitmq_server.port) as network:
        async with publisher(network.url("amqp", "/"), command_timeout=1) as publishing:
            await publishing.publish(messages(namespace, 1, prefix="before"))
            network.delay(0.1, Direction.TO_CLIENT)
            batch = asyncio.ensure_future(publishing.publish(messages(namespace, 20, size=size)))
            await asyncio.sleep(0)
            match fault:
                case "reset":
                    network.cut()
                case "ended":
                    network.cut(reset=False)
                case "blackholed":
                    network.blackhole()
                case _:
                    network.blackhole(Direction.TO_CLIENT)
            if fault in ("reset", "ended"):
                network.heal()
                assert await batch == [None] * 20
            else:
                with pytest.raises(BrokerUnavailable):
                    await batch
                network.heal()
            assert await publishing.publish(messages(namespace, 1, prefix="later")) == [None]
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(namespace)
