"""Groups on Redis: what they cost, what they leave behind, and how long a low priority waits."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.redis.keys import KeySpace
from asyncq.terms import PRIORITY_STEP_MS, RateTerm, SlotTerm, Terms
from asyncq.transport import Again, Done, Envelope, Outcome, Return
from tests.redis.pairs import KEPT, LIMITS, QUEUE, finish, kept_up, opened
from tests.redis.test_costs import KEYS_THAT_STAY, cost_of
from tests.servers import StartRedis

ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")
BOTH = (RateTerm("api"),), (SlotTerm("room"),)


async def test_nothing_is_left_after_a_drain(
    redis_url: str, namespace: str, no_keys_left: Callable[..., Awaitable[None]]
) -> None:
    """After every kind of end, in lanes of a queue and of lines, only what limits allow has no TTL."""
    async with opened(redis_url, namespace) as pair:
        await pair.transport.limits().declare({ROOM: Numbers(3), API: Numbers(40, 300)})
        now_ms = pair.transport.now_ms()

        def envelope(number: int) -> Envelope:
            terms = Terms(*BOTH if number % 2 else ((), ()), group=f"tenant {number % 4}" if number % 5 else "")
            due_ms = now_ms + 50 if number % 7 == 0 else 0
            return Envelope(str(number), QUEUE, b"", number % 3, due_ms, terms=terms if terms != Terms() else None)

        await pair.transport.publish([envelope(number) for number in range(60)])
        consumer = await pair.consumer()
        async with kept_up(consumer):
            settle = [
                Return,
                lambda delivery: Again(delivery, b"", pair.transport.now_ms() + 20),
                lambda delivery: Return(delivery, is_crash=True),
                lambda delivery: Done(delivery, KEPT),
            ]
            for round in range(6):
                deliveries = await consumer.fetch(LIMITS, 12)
                await consumer.settle([settle[(round + n) % 4](each) for n, each in enumerate(deliveries)])
            for number in range(0, 60, 3):
                await pair.transport.withdraw(str(number), QUEUE, Outcome(None), even_running=True)
            lost = await pair.consumer()
            await lost.fetch(LIMITS, 4)
            await pair.transport.release([lost.name])
            while sum((await pair.transport.counts([QUEUE]))[0]):
                await finish(consumer, await consumer.fetch(LIMITS, 100))
            await consumer.leave()
    await no_keys_left(allowed=[*KEYS_THAT_STAY, "{{namespace}}:limits"])


async def test_a_low_priority_waits_a_minute_for_each_step(redis_url: str, namespace: str) -> None:
    """In a group what has waited a minute longer goes before what has one step more of priority, and not sooner."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        lane = KeySpace(namespace).queue(QUEUE)["lanes"].removesuffix("lanes") + "lane:0:a"
        of_a = Terms(group="a")
        await pair.transport.publish([Envelope(f"low-{n}", QUEUE, b"", 0, terms=of_a) for n in range(2)])
        await pair.transport.publish([Envelope("high", QUEUE, b"", 3, terms=of_a)])
        waited_us = 3 * PRIORITY_STEP_MS * 1000
        await redis.zincrby(lane, -waited_us, "0low-0")
        await redis.zincrby(lane, 5_000_000 - waited_us, "0low-1")
        consumer = await pair.consumer()
        found = [delivery.id for delivery in await consumer.fetch(LIMITS, 3)]
        assert found == ["low-0", "high", "low-1"]
        await consumer.leave()


async def test_what_a_grouped_call_costs(own_redis: StartRedis) -> None:
    """A grouped call takes three commands more to publish and three to lend; a fetch eleven."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        fetch, publish = {}, {}
        for kind in ("plain", "grouped"):
            ids = [f"{kind}-{n}" for n in range(50)]
            envelopes = [
                Envelope(id, QUEUE, b"", 1, terms=Terms(group=f"g{n % 10}") if kind == "grouped" else None)
                for n, id in enumerate(ids)
            ]
            publish[kind] = await cost_of(redis, lambda some=envelopes: pair.transport.publish(some), besides=("info",))

            async def fetch_all() -> None:
                for _ in range(10):
                    assert len(await consumer.fetch(LIMITS, 5, wait=False)) == 5

            fetch[kind] = await cost_of(redis, fetch_all, besides=("info", "time"))
        assert publish["grouped"] - publish["plain"] <= 3 * 50, publish
        assert fetch["grouped"] - fetch["plain"] <= 3 * 50 + 11 * 10, fetch


async def test_limits_without_groups_ask_for_none(own_redis: StartRedis) -> None:
    """Calls with limits and without groups are published, lent and ended with no command that speaks of lanes."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        consumer = await pair.consumer()
        seen: list[str] = []
        async with redis.monitor() as monitor:
            room = Terms(slots=(SlotTerm("room"),))
            await pair.transport.publish([Envelope(str(n), QUEUE, b"", terms=room) for n in range(5)])
            for _ in range(5):
                await finish(consumer, await consumer.fetch(LIMITS, 2))
            await redis.ping()
            async with asyncio.timeout(10):
                async for command in monitor.listen():
                    if command["command"] == "PING":
                        break
                    seen.append(command["command"])
        assert any("zadd" in each.lower() for each in seen)
        lanes = [each for each in seen if "lane" in each and not each.upper().startswith(("EXISTS", "EVALSHA"))]
        assert not lanes


async def test_of_many_groups_some_are_shown(redis_url: str, namespace: str) -> None:
    """Who looks at a queue sees the first of the lanes whose turn is next, however many there are."""
    async with opened(redis_url, namespace) as pair:
        await pair.transport.publish(
            [Envelope(str(n), QUEUE, str(n).encode(), terms=Terms(group=f"g{n}")) for n in range(300)]
        )
        (bodies,) = await pair.transport.first_in_line([QUEUE])
        assert b"0" in bodies
        assert len(bodies) == 100
