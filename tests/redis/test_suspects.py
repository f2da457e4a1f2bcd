"""Suspects on a server: who is woken by them, and where they go."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from asyncq.redis.consumer import RedisConsumer
from asyncq.redis.keys import KeySpace
from asyncq.redis.server import call
from asyncq.transport import SUSPECT_CRASHES, Again, Delivery, Return
from tests.redis.pairs import LIMITS, QUEUE, Pair, finish, kept_up, opened
from tests.waiting import wait_until


async def return_it(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """Hand it back."""
    await consumer.settle([Return(delivery)])


async def crash_again(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """Hand it back with one more crash."""
    await consumer.settle([Return(delivery, is_crash=True)])


async def try_again(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """Let it run again at once."""
    await consumer.settle([Again(delivery, b"retry", 0)])


async def try_later(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """Let it run again in a moment."""
    await consumer.settle([Again(delivery, b"retry", pair.transport.now_ms() + 100)])


async def leave(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """End the membership of who holds it."""
    await consumer.leave()


async def reclaim(pair: Pair, consumer: RedisConsumer, delivery: Delivery) -> None:
    """Take who holds it for dead."""
    await pair.transport.release([consumer.name])


@pytest.mark.parametrize("step", [return_it, crash_again, try_again, try_later, leave, reclaim])
async def test_a_suspect_that_comes_free_wakes_who_may_take_it(
    redis_url: str, namespace: str, step: Callable[[Pair, RedisConsumer, Delivery], Awaitable[None]]
) -> None:
    """However it comes free, of two that wait for it the one that may take no suspect sleeps on."""
    async with opened(redis_url, namespace) as pair, opened(redis_url, namespace) as other:
        await suspects(pair, "a")
        holder, busy, idle = await pair.consumer(), await other.consumer(), await other.consumer()
        [delivery] = await holder.fetch(LIMITS, 1)
        assert list(await busy.fetch(LIMITS, 10, wait=False, suspects=0)) == []
        assert list(await idle.fetch(LIMITS, 10, wait=False)) == []
        async with kept_up(busy):
            sleeping = asyncio.create_task(sleep_on(busy))
            fetching = asyncio.create_task(fetch_something(idle))
            await wait_until(lambda: have_blocked(redis_url, 2), "both wait")
            await step(pair, holder, delivery)
            assert [(delivery.id, delivery.crashes > 0) for delivery in await fetching] == [("a", True)]
            assert not sleeping.done()
            sleeping.cancel()


async def test_a_token_that_the_dead_have_eaten_is_left_again(redis_url: str, namespace: str) -> None:
    """A fetch that is refused passes on that a suspect is there."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await suspects(pair, "a")
        dead, alive = await pair.consumer(), await pair.consumer()
        late = dead._fetching(LIMITS, 10, 1)  # pyright: ignore[reportPrivateUsage] - sent, and not there yet
        await alive.fetch(LIMITS, 10, wait=False, suspects=0)
        await pair.transport.release([dead.name])
        assert await redis.lpop(KeySpace(namespace).queue(QUEUE)["wake_suspects"])
        assert await pair.client.commands.call([late], wanted="fetch") == [-1]
        assert [delivery.id for delivery in await fetch_something(alive)] == ["a"]


async def test_one_token_is_enough_for_all_suspects(redis_url: str, namespace: str) -> None:
    """Each of three consumers that wait gets one of the three suspects that come free in one step."""
    async with opened(redis_url, namespace) as pair:
        dead, *alive = [await pair.consumer() for _ in range(4)]
        await suspects(pair, "a", "b", "c")
        await dead.fetch(LIMITS, 3, suspects=3)
        fetching = [asyncio.create_task(fetch_something(consumer)) for consumer in alive]
        await wait_until(lambda: have_blocked(redis_url, 3), "all wait")
        await pair.transport.release([dead.name])
        fetched = [[delivery.id for delivery in await each] for each in fetching]
        assert sorted(fetched) == [["a"], ["b"], ["c"]]


async def test_nothing_of_suspects_is_left(redis_url: str, namespace: str) -> None:
    """When all suspects have ended there is no trace of them, and nobody is woken for nothing."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await suspects(pair, "a", "b")
        consumer = await pair.consumer()
        for _ in range(2):
            await finish(consumer, list(await consumer.fetch(LIMITS, 10)))
        keys = KeySpace(namespace).queue(QUEUE)
        assert await redis.exists(*keys.select(("suspects", "crashes", "wake_suspects", "ahead", "running"))) == 0


async def test_who_is_condemned_and_lives_loses_nothing(redis_url: str, namespace: str) -> None:
    """Who absolves while its reclaimer is still at it hands the rest back unharmed; no crash is counted afterwards."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.publish("a", "b")
        late = await pair.consumer()
        await late.fetch(LIMITS, 10)
        own = KeySpace(namespace).own
        await redis.zadd(own["workers"], {late.name: float("-inf")})
        assert await pair.client.commands.call(
            [call("condemn", own, "nobody", pair.transport.now_ms())], wanted="reclaim"
        ) == [[late.name.encode()]]
        await late.absolve()
        assert await pair.transport.release([late.name]) == 0
        fetched = await (await pair.consumer()).fetch(LIMITS, 10, wait=False, suspects=0)
        assert [(delivery.id, delivery.crashes) for delivery in fetched] == [("a", 0), ("b", 0)]


async def test_an_absolved_suspect_with_another_crash_stays_one(redis_url: str, namespace: str) -> None:
    """Of three crashes one is taken back, however often that is asked for; what is left makes it a suspect still."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await suspects(pair, "a")
        late = await pair.consumer()
        await late.fetch(LIMITS, 1)
        await redis.zadd(KeySpace(namespace).own["workers"], {late.name: float("-inf")})
        await reclaim_all(await pair.consumer())
        for _ in range(3):
            await late.absolve()
        consumer = await pair.consumer()
        assert list(await consumer.fetch(LIMITS, 1, wait=False, suspects=0)) == []
        assert [delivery.crashes for delivery in await consumer.fetch(LIMITS, 1, wait=False)] == [2]


async def test_what_a_lost_reply_held_is_absolved(redis_url: str, namespace: str) -> None:
    """Who was taken for dead takes back also the crash of what it was lent and never heard of."""
    async with opened(redis_url, namespace) as pair:
        late, reclaimer = await pair.consumer(lease=0.001), await pair.consumer()
        assert list(await late.fetch(LIMITS, 10, wait=False)) == []
        await pair.publish("a")
        unheard = late._fetching(LIMITS, 10, 1)  # pyright: ignore[reportPrivateUsage] - as if its reply were lost
        await pair.client.commands.call([unheard], wanted="fetch")
        await reclaim_all(reclaimer)
        await late.absolve()
        assert [delivery.crashes for delivery in await reclaimer.fetch(LIMITS, 10, wait=False)] == [0]


async def test_very_many_are_absolved(redis_url: str, namespace: str) -> None:
    """What is looked through in several steps is absolved to the last, and nothing of it is left."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.publish(*map(str, range(3_000)))
        late, reclaimer = await pair.consumer(lease=0.001), await pair.consumer()
        for _ in range(3):
            await late.fetch(LIMITS, 1_000, wait=False)
        await reclaim_all(reclaimer)
        crashes = KeySpace(namespace).queue(QUEUE)["crashes"]
        assert await redis.hlen(crashes) == 3_000
        await late.absolve()
        assert await redis.exists(crashes) == 0


async def test_absolving_ends_no_living_membership(redis_url: str, namespace: str) -> None:
    """Who is no suspect of having died keeps what it holds."""
    async with opened(redis_url, namespace) as pair:
        await pair.publish("a")
        consumer = await pair.consumer()
        deliveries = list(await consumer.fetch(LIMITS, 10))
        await consumer.absolve()
        await finish(consumer, deliveries)


async def suspects(pair: Pair, *ids: str) -> None:
    """Publish messages that consumers die with until they are suspects."""
    await pair.publish(*ids)
    for _ in range(SUSPECT_CRASHES):
        dead = await pair.consumer()
        await dead.fetch(LIMITS, len(ids), suspects=0)
        assert await pair.transport.release([dead.name]) == len(ids)


async def reclaim_all(reclaimer: RedisConsumer) -> None:
    """Take for dead whose lease has run out."""
    lease = reclaimer.lease()
    await asyncio.to_thread(lease.reclaim)
    await asyncio.to_thread(lease.close)


async def fetch_something(consumer: RedisConsumer) -> list[Delivery]:
    """Fetch until something comes."""
    while not (deliveries := list(await consumer.fetch(LIMITS, 10))):
        pass
    return deliveries


async def sleep_on(consumer: RedisConsumer) -> None:
    """Fetch, for ever, what is no suspect."""
    while not await consumer.fetch(LIMITS, 10, suspects=0):
        pass


async def have_blocked(url: str, count: int) -> bool:
    """Say whether so many clients wait for a token."""
    async with Redis.from_url(url) as redis:
        clients = await redis.client_list(_type="normal")
        return sum(client["cmd"] == "blpop" for client in clients) == count
