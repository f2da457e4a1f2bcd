"""Limits on Redis: what they cost, what they leave behind, and what becomes of lost slots."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable
from asyncq.limits import Numbers
from asyncq.redis.keys import KeySpace
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.transport import Again, Envelope
from tests.drained_limits import API, ROOM, drain
from tests.redis.pairs import LIMITS, QUEUE, finish, kept_up, opened
from tests.redis.test_costs import KEYS_THAT_STAY, cost_of
from tests.servers import StartRedis
from tests.waiting import wait_until


async def test_nothing_is_left_after_a_drain(
    redis_url: str, namespace: str, no_keys_left: Callable[..., Awaitable[None]]
) -> None:
    """After every kind of end, and of use outside of tasks, only what limits allow has no TTL."""
    async with opened(redis_url, namespace) as pair:
        consumer = await pair.consumer()
        async with kept_up(consumer):
            await drain(pair.transport, consumer)
    await no_keys_left(allowed=[*KEYS_THAT_STAY, "{{namespace}}:limits"])


async def test_what_a_limited_call_costs(own_redis: StartRedis) -> None:
    """A call with a rate costs fewer than six commands in all, published, fetched and settled in a batch."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        await pair.transport.limits().declare({API: Numbers(1_000, 60_000)})
        consumer = await pair.consumer()
        terms = Terms(rates=(RateTerm("api"),))

        async def run(count: int) -> None:
            names = [f"{count}-{n}" for n in range(count)]
            await pair.transport.publish([Envelope(name, QUEUE, b"", is_fresh=True, terms=terms) for name in names])
            deliveries = await consumer.fetch(LIMITS, count, wait=False)
            assert len(deliveries) == count
            await finish(consumer, deliveries)

        await run(1)
        cost = await cost_of(redis, lambda: run(100), besides=("info", "time"))
        assert cost < 600, cost


async def test_ten_thousand_waiters_cost_nothing(own_redis: StartRedis) -> None:
    """While one call holds the only slot, 10,000 others wait without a command, and then start in order."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        terms = Terms(slots=(SlotTerm("room"),))
        count = 10_000
        await pair.transport.publish(
            [Envelope(f"{n:05}", QUEUE, b"", is_fresh=True, terms=terms) for n in range(count)]
        )
        consumer = await pair.consumer()
        [held] = await consumer.fetch(LIMITS, 1)
        while (await pair.transport.counts([QUEUE]))[0].ready:
            assert not await consumer.fetch(LIMITS, 10, wait=False)
        waiting = asyncio.create_task(consumer.fetch(LIMITS, 10))

        async def idle() -> None:
            await asyncio.sleep(0.5)

        assert await cost_of(redis, idle, besides=("info",)) == 0
        assert not waiting.done()
        for n in range(1, 200):
            await finish(consumer, [held])
            [held] = await waiting
            assert held.id == f"{n:05}"
            waiting = asyncio.create_task(consumer.fetch(LIMITS, 10))
        await consumer.interrupt()
        await waiting


async def test_lines_outlive_a_restart(own_redis: StartRedis) -> None:
    """A server that is started again while lines wait has them, with their times, holders and grants."""
    server = own_redis(appendonly=True)
    async with opened(server.url) as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1), API: Numbers(2, 4_000)})
        await pair.transport.publish(
            [Envelope(f"s{n}", QUEUE, b"", terms=Terms(slots=(SlotTerm("room"),))) for n in range(2)]
        )
        await pair.transport.publish(
            [Envelope(f"r{n}", QUEUE, b"", terms=Terms(rates=(RateTerm("api"),))) for n in range(3)]
        )
        consumer = await pair.consumer()
        begin_ms = pair.transport.now_ms()
        deliveries = list(await consumer.fetch(LIMITS, 10))
        while len(deliveries) < 3:
            deliveries += await consumer.fetch(LIMITS, 10)
        assert {delivery.id for delivery in deliveries} == {"s0", "r0", "r1"}
        assert (await pair.transport.counts([QUEUE]))[0].waiting == 2
        await asyncio.to_thread(server.restart)

        async def is_back() -> bool:
            try:
                return (await pair.transport.counts([QUEUE]))[0].waiting == 2
            except BrokerUnavailable:
                return False

        await wait_until(is_back, "the lines to be there again")
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await finish(consumer, [delivery for delivery in deliveries if delivery.id == "s0"])
        [slot] = await consumer.fetch(LIMITS, 10)
        assert slot.id == "s1"
        [turn] = await consumer.fetch(LIMITS, 10)
        assert turn.id == "r2"
        assert pair.transport.now_ms() - begin_ms >= 4_000 - 50


async def test_a_slot_that_was_lost_is_found(redis_url: str, namespace: str) -> None:
    """A holder that is not lent any more, after a failover say, is freed by the next that asks in vain."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        key = KeySpace(namespace).own["limits"].removesuffix("limits") + "holders:slots room "
        await redis.hset(key, f"{QUEUE} 0gone", "")  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]
        await pair.transport.publish([Envelope("a", QUEUE, b"", terms=Terms(slots=(SlotTerm("room"),)))])
        consumer = await pair.consumer()
        [delivery] = await consumer.fetch(LIMITS, 1, wait=False)
        await finish(consumer, [delivery])
        assert not await redis.exists(key)


async def test_a_queue_that_is_not_asked_for_is_woken_for(redis_url: str, namespace: str) -> None:
    """Who made a line and has no slot left for its queue leaves a token there when the line's time comes."""
    async with opened(redis_url, namespace) as pair:
        await pair.transport.limits().declare({API: Numbers(1, 300)})
        terms = Terms(rates=(RateTerm("api"),))
        await pair.transport.publish([Envelope(id, QUEUE, b"", terms=terms) for id in "ab"])
        consumer = await pair.transport.consumer(f"{namespace}-worker", [QUEUE, "other"], lease=60)
        async with kept_up(consumer), Redis.from_url(redis_url) as client:
            assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["a"]
            assert not await consumer.fetch(LIMITS, 1, wait=False)
            assert not await consumer.fetch({"other": 1}, 1, wait=False)
            wake = KeySpace(namespace).queue(QUEUE)["wake"]
            assert await client.blpop([wake], timeout=5) is not None
            await consumer.leave()


async def test_a_call_that_is_rescheduled_stands_in_line(redis_url: str, namespace: str) -> None:
    """A call that is due now by another time goes before those in line that are less urgent, as any newcomer."""
    async with opened(redis_url, namespace) as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        needs = Terms(slots=(SlotTerm("room"),))
        await pair.transport.publish(
            [Envelope("a", QUEUE, b"", 1, terms=needs), Envelope("b", QUEUE, b"", terms=needs)]
        )
        consumer = await pair.consumer()
        (delivery,) = await consumer.fetch(LIMITS, 9, wait=False)
        assert not await consumer.fetch(LIMITS, 9, wait=False)
        await consumer.settle([Again(delivery, b"later", pair.transport.now_ms() + 60_000)])
        assert await pair.transport.reschedule("a", QUEUE, b"later", b"now", 0)
        assert [each.id for each in await consumer.fetch(LIMITS, 9, wait=False)] == ["a"]
        await consumer.leave()
