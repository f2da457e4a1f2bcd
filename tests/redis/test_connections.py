"""Connections: how many there are, which of them are opened anew with others, and which are not."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable, ConfigurationError, LeaseLost
from asyncq.redis.notices import Subscription
from asyncq.redis.server import Server
from asyncq.redis.topology import Node
from tests.redis.pairs import LIMITS, QUEUE, Pair, kept_up, opened
from tests.servers import StartRedis
from tests.waiting import wait_until

SILENCES = {"a": 0.3, "b": 0.5, "c": 0.7}
RECONNECTS = 100


async def test_subscriptions_do_not_renew_each_other(own_redis: StartRedis) -> None:
    """After a fault every connection is opened anew once, however many subscriptions a process has."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis, AsyncExitStack() as subscribed:
        for channel in SILENCES:
            await subscribed.enter_async_context(listening(pair, channel))
        await wait_until(lambda: has_listeners(redis, 3), "all listen")
        before = await connections_of(redis)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
        await pair.publish("a")
        await wait_until(lambda: is_renewed(redis, before, 3), "all have subscribed anew")
        renewed = await connections_of(redis)
        await asyncio.sleep(5 * max(SILENCES.values()))  # nothing is to happen
        assert await connections_of(redis) == renewed


async def test_who_is_cancelled_has_met_no_fault(own_redis: StartRedis) -> None:
    """A call that is cancelled while it waits for its reply costs its own connection, and no other one."""
    server = own_redis()
    async with opened(server.url) as pair:
        consumer = await pair.consumer()
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        async with Redis.from_url(server.url) as redis:
            await wait_until(lambda: is_blocked(redis), "the fetch waits")
        server.pause()
        era = pair.client.server.era
        calling = asyncio.create_task(pair.transport.counts(["mail"]))
        await asyncio.wait([calling], timeout=0.05)
        calling.cancel()
        await asyncio.wait([calling])
        server.resume()
        await pair.publish("a")
        assert [delivery.id for delivery in await fetching] == ["a"]
        assert pair.client.server.era == era


async def test_a_fetch_that_is_cut_says_why(own_redis: StartRedis) -> None:
    """A wait that ends because another connection had broken does not say of the server that it is silent."""
    async with opened(own_redis().url) as pair:
        consumer = await pair.consumer()
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        clients = b""
        while b"blocked_clients:1" not in clients:
            [clients] = await pair.client.commands.call([("INFO", "clients")], wanted="look")
        wire: Any = pair.client.commands._wire  # pyright: ignore[reportPrivateUsage]
        wire._writer.transport.abort()
        await pair.transport.counts([QUEUE])
        with pytest.raises(BrokerUnavailable, match="Another connection"):
            await fetching


async def test_a_lost_membership_leaves_no_connection(own_redis: StartRedis) -> None:
    """However often a worker is taken for dead, and comes back under another name, it has no more connections."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        for _ in range(5):
            consumer = await pair.consumer()
            await consumer.fetch(LIMITS, 1, wait=False)
            await pair.transport.release([consumer.name])
            with pytest.raises(LeaseLost):
                await consumer.fetch(LIMITS, 1)
            await consumer.absolve()
        assert len(await connections_of(redis)) == 1  # of commands


async def test_reconnecting_leaves_no_socket(own_redis: StartRedis) -> None:
    """After a hundred losses of all connections the process has as many files open as before."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        lease = consumer.lease()
        before = 0
        async with kept_up(consumer):
            for number in range(RECONNECTS):
                await redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
                await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await pair.publish(str(number))
                assert await asyncio.to_thread(lease.renew)
                with suppress(BrokerUnavailable):
                    await consumer.fetch(LIMITS, 1)
                if number == 0:
                    await wait_until(lambda: has_listeners(redis, 1), "it has subscribed")
                    before = open_files()
            await wait_until(lambda: has_listeners(redis, 1), "it has subscribed")
            await wait_until(lambda: open_files() <= before, "all others are closed")
        await asyncio.to_thread(lease.close)


async def test_a_connection_belongs_to_one_loop(redis_url: str, namespace: str) -> None:
    """A transport that is used on another loop, in a moment of rest or while calls queue up, says so and lives on."""
    async with opened(redis_url, namespace) as pair:
        others: list[Coroutine[Any, Any, Any]] = [pair.transport.counts([QUEUE]), pair.consumer()]
        for other in others:
            calls = [asyncio.create_task(pair.transport.counts([QUEUE])) for _ in range(3)]
            with pytest.raises(ConfigurationError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, other)
            await asyncio.gather(*calls)
        consumer = await pair.consumer()
        with pytest.raises(ConfigurationError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, consumer.settle([]))
        await pair.publish("a")
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["a"]


def test_a_connection_is_of_the_era_in_which_its_node_was_found() -> None:
    """Where a thread has found another master meanwhile, what a loop has just opened is not used any more."""
    server = Server("redis://localhost", connect_timeout=1, command_timeout=1)
    old = server.found(Node("old", 1), [b"1", b"0"])
    assert old.era == server.era
    new = server.found(Node("new", 1), [b"1", b"0"])
    assert old.era != server.era
    assert new.era == server.era


@asynccontextmanager
async def listening(pair: Pair, channel: str) -> AsyncIterator[None]:
    """Have a subscription that asks for signs of life often."""
    subscription = Subscription(pair.client.server, channel, silence=SILENCES[channel])

    async def catch_up() -> None: ...

    async with asyncio.TaskGroup() as group:
        running = group.create_task(subscription.run(lambda _: None, catch_up))
        try:
            yield
        finally:
            running.cancel()
            await subscription.close()


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def connections_of(redis: Redis) -> set[str]:
    """Return the ids of all connections but this one."""
    own = await redis.client_id()
    return {client["id"] for client in await redis.client_list() if int(client["id"]) != own}


async def is_renewed(redis: Redis, before: set[str], count: int) -> bool:
    """Say whether so many listen, over other connections than before."""
    clients = await redis.client_list(_type="pubsub")
    return len(clients) == count and not before & {client["id"] for client in clients}


async def has_listeners(redis: Redis, count: int) -> bool:
    """Say whether so many clients listen."""
    return len(await redis.client_list(_type="pubsub")) == count


async def is_blocked(redis: Redis) -> bool:
    """Say whether a client waits in a blocking command."""
    return (await redis.info("clients"))["blocked_clients"] > 0
