"""Orders: how a consumer learns that a call it holds is over."""

import asyncio

from redis.asyncio import Redis

from asyncq.redis.keys import KeySpace
from asyncq.redis.server import call
from tests.redis.pairs import KEPT, LIMITS, QUEUE, finish, kept_up, opened
from tests.servers import StartRedis
from tests.waiting import wait_until


async def test_what_was_severed_before_anybody_listened_is_told(redis_url: str, namespace: str) -> None:
    """A call that is withdrawn before its consumer has subscribed is told when it has."""
    told: list[str] = []
    async with opened(redis_url, namespace) as pair:
        await pair.publish("a")
        consumer = await pair.consumer()
        [a] = await consumer.fetch(LIMITS, 1)
        assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
        async with kept_up(consumer, told.extend):
            await wait_until(lambda: told == [a.token], "the call is told")


async def test_what_was_severed_in_an_outage_is_told(own_redis: StartRedis) -> None:
    """What is withdrawn while the subscription is cut is told when it is back, and nothing is told a second time."""
    server = own_redis()
    told: list[str] = []
    async with opened(server.url) as pair:
        await pair.publish("a", "b", "c")
        consumer = await pair.consumer()
        a, b, c = [delivery.token for delivery in await consumer.fetch(LIMITS, 3)]
        async with kept_up(consumer, told.extend):
            assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            await wait_until(lambda: told == [a], "the first is told")
            cut = ("CLIENT", "KILL", "TYPE", "pubsub")
            sever = call("withdraw", KeySpace("test").queue(QUEUE), "b", 0, b"", 0, "", 60_000)
            assert await pair.client.commands.call([cut, sever], wanted="withdraw") == [1, 1]
            await wait_until(lambda: told == [a, b], "the second is told")
            assert await pair.transport.withdraw("c", QUEUE, KEPT, even_running=True)
            await wait_until(lambda: told == [a, b, c], "the third is told")


async def test_what_was_severed_is_told_after_a_restart(own_redis: StartRedis) -> None:
    """A consumer that outlives a restart of the server is told of what is withdrawn after it."""
    server = own_redis(appendonly=True)
    told: list[str] = []
    async with opened(server.url) as pair:
        await pair.publish("a")
        consumer = await pair.consumer()
        [a] = await consumer.fetch(LIMITS, 1)
        async with kept_up(consumer, told.extend):
            await asyncio.to_thread(server.restart)
            assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            await wait_until(lambda: told == [a.token], "the call is told")


async def test_an_order_may_arrive_before_its_delivery(redis_url: str, namespace: str) -> None:
    """A delivery that was over before its fetch was answered is not returned; the others are."""
    told: list[str] = []
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.publish("a", "b")
        consumer = await pair.consumer()
        async with kept_up(consumer, told.extend):
            address = KeySpace(namespace).own["orders"] + consumer.name
            await wait_until(lambda: is_subscribed(redis, address), "it has subscribed")
            await redis.publish(address, token := f"{consumer.name}/1001/1")  # of the first that its first fetch brings
            await wait_until(lambda: told == [token], "the order has come")
            assert [delivery.id for delivery in await consumer.fetch(LIMITS, 10, wait=False)] == ["b"]


async def test_an_order_is_no_order_for_the_next_call_of_that_id(redis_url: str, namespace: str) -> None:
    """A call that is published anew is fetched and settled by the consumer that was told of the old one."""
    told: list[str] = []
    async with opened(redis_url, namespace) as pair:
        await pair.publish("a")
        consumer = await pair.consumer()
        [a] = await consumer.fetch(LIMITS, 1)
        async with kept_up(consumer, told.extend):
            assert await pair.transport.withdraw("a", QUEUE, KEPT._replace(record=None), even_running=True)
            await wait_until(lambda: told == [a.token], "the call is told")
            await pair.publish("a")
            await finish(consumer, list(await consumer.fetch(LIMITS, 1)))


async def test_an_order_that_was_obeyed_is_not_kept(redis_url: str, namespace: str) -> None:
    """However many calls are cancelled, nothing of them is kept for a consumer that was told of each."""
    told: list[str] = []
    ids = [str(number) for number in range(600)]
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.publish(*ids)
        consumer = await pair.consumer()
        await consumer.fetch(LIMITS, len(ids))
        withdrawing = [pair.transport.withdraw(id, QUEUE, KEPT, even_running=True) for id in ids]
        before, after = withdrawing[:550], withdrawing[550:]
        assert all(await asyncio.gather(*before))
        async with kept_up(consumer, told.extend):
            await wait_until(lambda: len(told) == len(before), "what came before is told")
            assert all(await asyncio.gather(*after))
            await wait_until(lambda: len(told) == len(ids), "the others are told")
            await wait_until(lambda: has_no_orders(redis, namespace, consumer.name), "all are struck out")


async def test_what_was_severed_is_not_held_any_more(redis_url: str, namespace: str) -> None:
    """A consumer that was told of a cancelled call has forgotten it, and does not settle it."""
    told: list[str] = []
    async with opened(redis_url, namespace) as pair:
        await pair.publish("a", "b")
        consumer = await pair.consumer()
        a, b = await consumer.fetch(LIMITS, 2)
        async with kept_up(consumer, told.extend):
            assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            await wait_until(lambda: told == [a.token], "the call is told")
            assert set(consumer._holdings._held) == {b.token}  # pyright: ignore[reportPrivateUsage]
            await finish(consumer, [b])


async def test_a_consumer_that_is_not_kept_up_has_no_subscription(own_redis: StartRedis) -> None:
    """One connection subscribes while `run` runs, and none when it was cancelled."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        async with kept_up(consumer):
            await wait_until(lambda: has_subscribers(redis, 1), "it has subscribed")
        await wait_until(lambda: has_subscribers(redis, 0), "the subscription is closed")


async def is_subscribed(redis: Redis, address: str) -> bool:
    """Say whether somebody listens to the channel."""
    return (await redis.pubsub_numsub(address))[0][1] == 1


async def has_subscribers(redis: Redis, count: int) -> bool:
    """Say whether so many clients subscribe to something."""
    return len(await redis.client_list(_type="pubsub")) == count


async def has_no_orders(redis: Redis, namespace: str, name: str) -> bool:
    """Say whether nothing is kept for the consumer."""
    return await redis.exists(KeySpace(namespace).own["orders"] + name) == 0
