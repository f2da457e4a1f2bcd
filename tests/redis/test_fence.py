"""The fence: a consumer that is out fetches and settles nothing, whatever it has on the way."""

import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.transport import Delivery, Done
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.redis.pairs import KEPT, LIMITS, QUEUE, finish, opened
from tests.servers import RedisServer, StartRedis
from tests.waiting import wait_until


async def test_the_waiting_fetch_of_a_reclaimed_consumer_is_refused(redis_url: str, namespace: str) -> None:
    """A fetch that waits at the server when its consumer is reclaimed takes nothing, and passes the wake-up on."""
    async with opened(redis_url, namespace) as pair, opened(redis_url, namespace) as other:
        dead, alive = await pair.consumer(), await other.consumer()
        assert list(await alive.fetch(LIMITS, 10, wait=False)) == []
        fetching = asyncio.create_task(dead.fetch(LIMITS, 10))
        await wait_until(lambda: has_waiting(redis_url, namespace), "the fetch waits")
        assert await other.transport.release([dead.name]) == 0
        await other.publish("a")
        assert [delivery.id for delivery in await alive.fetch(LIMITS, 10)] == ["a"]
        with pytest.raises(LeaseLost):
            await fetching


async def test_a_fetch_that_was_given_up_is_refused_when_it_arrives(redis_url: str, namespace: str) -> None:
    """What a cut-off fetch finds at the server later goes to the next one, not into nobody's hands."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        consumer = await pair.consumer()
        await consumer.fetch(LIMITS, 10, wait=False)
        await pair.publish("a", "b")
        late = consumer._fetching(LIMITS, 10, 1)  # pyright: ignore[reportPrivateUsage] - as it was sent, before it was lost
        consumer._holdings.has_unanswered = True  # pyright: ignore[reportPrivateUsage]
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["a"]
        assert await pair.client.commands.call([late], wanted="fetch") == [-2]
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["b"]
        assert await redis.hlen(f"{{{namespace}}}:q:{QUEUE}:running") == 2


async def test_what_a_lost_reply_held_goes_back_to_its_place(redis_server: RedisServer, namespace: str) -> None:
    """Messages whose delivery never arrived are fetched again, in order and with no crash on their count."""
    with Proxy(redis_server.port) as network:
        async with opened(network.url(), namespace, command_timeout=1) as pair:
            consumer = await pair.consumer()
            await pair.publish("a", "b", "c", "d")
            [a] = await consumer.fetch(LIMITS, 1)
            network.blackhole(Direction.TO_CLIENT)
            with pytest.raises(BrokerUnavailable):
                await consumer.fetch(LIMITS, 2)
            network.heal()
            deliveries = list(await consumer.fetch(LIMITS, 10))
            assert [(delivery.id, delivery.crashes) for delivery in deliveries] == [("b", 0), ("c", 0), ("d", 0)]
            await finish(consumer, [a, *deliveries])


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_what_ended_in_moments_that_are_lost_comes_back(own_redis: StartRedis, is_noticed: bool) -> None:
    """A server that was set back takes for running what has ended: it is fetched again, whoever notices first."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        await pair.publish("a", "b", "c")
        a, b = await consumer.fetch(LIMITS, 2)
        await redis.save()
        await finish(consumer, [a])
        [c] = await consumer.fetch(LIMITS, 1)
        await asyncio.to_thread(server.restart)
        if is_noticed:  # by another connection: that of the consumer is opened anew, and its fetch does not fail
            await pair.transport.counts([QUEUE])
        deliveries: list[Delivery] = []
        while len(deliveries) < 2:
            with suppress(BrokerUnavailable):
                deliveries += await consumer.fetch(LIMITS, 10, wait=False)
        assert sorted((delivery.id, delivery.crashes) for delivery in deliveries) == [("a", 0), ("c", 0)]
        with suppress(BrokerUnavailable):
            await consumer.settle([Done(c, KEPT)])
        assert list(await consumer.settle([Done(c, KEPT)])) == [False]
        await finish(consumer, [b, *deliveries])


async def test_a_takeover_that_was_long_on_its_way(own_redis: StartRedis) -> None:
    """While a takeover is on its way to a frozen server leases run out; theirs are not taken over by it."""
    server = own_redis()
    async with opened(server.url) as pair:
        living = await pair.consumer(lease=0.5)
        reclaimer = (await pair.consumer(lease=60)).lease()
        await pair.publish("a")
        deliveries = list(await living.fetch(LIMITS, 1))
        assert await asyncio.to_thread(reclaimer.renew)  # so it is connected
        server.pause()
        reclaiming = asyncio.create_task(asyncio.to_thread(reclaimer.reclaim))
        await asyncio.sleep(0.7)  # the frost itself
        server.resume()
        assert dict(await reclaiming) == {}
        await finish(living, deliveries)
        await asyncio.to_thread(reclaimer.close)


async def test_flushing_the_server_ends_every_membership(own_redis: StartRedis) -> None:
    """After FLUSHALL a consumer can neither renew nor fetch, settles nothing, and goes on under a new name."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        lease = consumer.lease()
        await pair.publish("a")
        deliveries = await consumer.fetch(LIMITS, 1)
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        await redis.flushall()
        assert not await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)
        assert list(await consumer.settle([Done(delivery, KEPT) for delivery in deliveries])) == [False]
        await pair.publish("b")
        with pytest.raises(LeaseLost):
            await fetching
        successor = await pair.consumer()
        assert [delivery.id for delivery in await successor.fetch(LIMITS, 1)] == ["b"]


async def has_waiting(url: str, namespace: str) -> bool:
    """Say whether a client waits for a token of the test's queue."""
    async with Redis.from_url(url) as redis:
        clients = await redis.client_list(_type="normal")
        return any(client["cmd"] == "blpop" for client in clients)
