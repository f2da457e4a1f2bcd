"""What asyncq costs a Redis server: commands, memory, connections, keys that stay."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis

from asyncq import RateLimit, RedisBroker
from asyncq.message import Message, encode_message, new_id
from asyncq.redis.consumer import BLOCK_SECONDS
from asyncq.redis.keys import KeySpace
from asyncq.redis.orders import SILENCE_SECONDS
from asyncq.store import CallKey, Listener, Notice
from asyncq.transport import Again, Dead, Delivery, Done, Envelope, Outcome, Return
from tests.redis.pairs import KEPT, LIMITS, MINUTE_MS, QUEUE, RECORD, commands_of, finish, kept_up, opened
from tests.servers import StartRedis
from tests.waiting import wait_until

FAR = 1_000
"""Members between which and both ends of a line it is not looked for what is withdrawn."""

LOOKED_AT = 5_000
"""About how many deliveries a script looks at, at most, to find those of one consumer."""

KEYS_THAT_STAY = [
    *("{{namespace}}:q:mail:sequence", "{{namespace}}:q:mail:wake", "{{namespace}}:q:mail:wake_suspects"),
    "{{namespace}}:queues",
]


async def test_nothing_is_left_after_a_drain(
    redis_url: str, namespace: str, no_keys_left: Callable[..., Awaitable[None]]
) -> None:
    """After every kind of publishing and settling, only the documented keys have no TTL."""
    async with opened(redis_url, namespace) as pair:
        address = await pair.store.listen(Listener(lambda _: None, lambda: None))
        now_ms = pair.transport.now_ms()
        await pair.transport.publish(
            [Envelope(str(n), QUEUE, b"", n % 10, due_ms=now_ms + 50 if n % 3 else 0) for n in range(40)]
        )
        await pair.store.look([CallKey(str(n), QUEUE) for n in range(40)], watcher=address)
        assert await pair.transport.withdraw("0", QUEUE, KEPT)
        dead = await pair.consumer()
        await dead.fetch(LIMITS, 2)
        assert await pair.transport.release([dead.name]) == 2
        consumer = await pair.consumer()
        left = 39
        async with kept_up(consumer):
            for settle in (
                Return,
                lambda delivery: Return(delivery, is_crash=True),
                lambda delivery: Again(delivery, b"", now_ms + 100),
            ):
                deliveries = await consumer.fetch(LIMITS, 3)
                await consumer.settle([settle(delivery) for delivery in deliveries])
            [severed, *deliveries] = await consumer.fetch(LIMITS, 3)
            assert await pair.transport.withdraw(severed.id, QUEUE, KEPT, even_running=True)
            then = [Envelope("next", QUEUE, b"", due_ms=now_ms + 100)]
            await consumer.settle([Done(delivery, KEPT, then) for delivery in deliveries])
            left -= len(deliveries)
            while left:
                deliveries = list(await consumer.fetch(LIMITS, 10))
                for delivery in deliveries:
                    await pair.store.report(CallKey(delivery.id, QUEUE), b"half", ttl_ms=MINUTE_MS)
                await finish(consumer, deliveries[1:])
                await consumer.settle([Dead(delivery, KEPT, "reason", MINUTE_MS) for delivery in deliveries[:1]])
                left -= len(deliveries)
            await consumer.interrupt()
            assert await consumer.leave() == 0
    await no_keys_left(allowed=KEYS_THAT_STAY)


async def test_withdrawn_messages_leave_the_line_when_it_is_fetched(redis_url: str, namespace: str) -> None:
    """What is withdrawn and published again, any number of times, is fetched once; no mark of it is left."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        await pair.publish(*[f"first-{n}" for n in range(FAR)])
        for turn in range(3):
            await pair.publish("a", "b", *[f"{turn}-{n}" for n in range(FAR)])
            assert await pair.transport.withdraw("a", QUEUE, Outcome(None))
            assert await pair.transport.withdraw("b", QUEUE, Outcome(None))
        assert await redis.hlen(f"{{{namespace}}}:q:{QUEUE}:withdrawn") == 2
        await pair.publish("b", "c")
        consumer = await pair.consumer()
        fetched: list[str] = []
        while "c" not in fetched:
            fetched += [delivery.id for delivery in await consumer.fetch(LIMITS, 1_000)]
        assert len(fetched) == 4 * FAR + 2
        assert fetched[-2:] == ["b", "c"]
        assert await redis.exists(f"{{{namespace}}}:q:{QUEUE}:withdrawn", f"{{{namespace}}}:q:{QUEUE}:line") == 0
        await consumer.leave()


async def test_what_is_withdrawn_near_an_end_of_the_line_is_gone(redis_url: str, namespace: str) -> None:
    """In a queue that nobody fetches from, calls that are withdrawn in about their order leave nothing behind."""
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        ids = [str(number) for number in range(2 * FAR + 500)]
        await pair.publish(*ids)
        for id in (*ids[-FAR:], *ids[:-FAR]):
            assert await pair.transport.withdraw(id, QUEUE, Outcome(None))
        keys = KeySpace(namespace).queue(QUEUE)
        assert await redis.exists(*keys.select(("messages", "line", "withdrawn"))) == 0


async def test_what_was_held_is_taken_back_in_steps(own_redis: StartRedis) -> None:
    """However much others hold, no script looks through all of it when a worker finds out what it does not hold."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        await pair.publish(*[str(number) for number in range(40)])
        consumer = await pair.consumer()
        await consumer.fetch(LIMITS, 20)
        lost = consumer._fetching(LIMITS, 20, 1)  # pyright: ignore[reportPrivateUsage] - its reply goes elsewhere
        await pair.client.commands.call([lost], wanted="fetch")
        consumer._holdings.has_unanswered = True  # pyright: ignore[reportPrivateUsage]
        running = KeySpace("test").queue(QUEUE)["running"]
        others = [word for number in range(3 * LOOKED_AT) for word in (f"0other-{number}", f"another/1001/{number}")]
        await redis.hset(running, items=others)
        assert len(await consumer.fetch(LIMITS, 100)) == 20
        assert list(await consumer.fetch(LIMITS, 1, wait=False)) == []
        assert await pair.transport.release([consumer.name]) == 40
        assert await redis.hlen(running) == 3 * LOOKED_AT
        steps = (await redis.info("commandstats"))["cmdstat_hscan"]["calls"]
        assert steps >= 3


async def test_an_idle_worker_runs_few_commands(own_redis: StartRedis) -> None:
    """Twenty idle seconds of a worker with a lease of 15 s cost at most 20 commands, scripts and orders included."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer(lease=15)
        lease = consumer.lease()
        assert list(await consumer.fetch(LIMITS, 10, wait=False)) == []
        await asyncio.to_thread(lease.renew)

        async def wait_once() -> None:
            fetching = asyncio.create_task(consumer.fetch(LIMITS, 10))
            await wait_until(lambda: has_blocked_client(redis), "the fetch waits")
            await consumer.interrupt()
            assert list(await fetching) == []

        waiting = await cost_of(redis, wait_once, besides=("info", "rpush", "pexpire", "del", "evalsha"))
        renewal = await cost_of(redis, lambda: asyncio.to_thread(lease.renew), besides=("info",))
        look = await cost_of(redis, lambda: asyncio.to_thread(lease.next_end), besides=("info",))
        waiting += 1  # its own script, which is counted out with the one that interrupts
        assert BLOCK_SECONDS >= 20
        pings = math.ceil(20 / SILENCE_SECONDS)
        assert waiting + 4 * renewal + 2 * look + pings <= 20, (waiting, renewal, look, pings)
        await asyncio.to_thread(lease.close)


async def test_without_crashes_and_limits_these_cost_nothing(own_redis: StartRedis) -> None:
    """Ten messages are published, fetched and settled with the commands that it takes without suspects and limits.

    One of each, of a fetch and of a settlement, asks whether there is anything else in the queue.
    """
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        await pair.publish("known queue")
        await consumer.fetch(LIMITS, 1)
        deliveries: list[Delivery] = []

        async def fetch() -> None:
            deliveries.extend(await consumer.fetch(LIMITS, 10, wait=False))

        envelopes = [Envelope(str(n), QUEUE, b"", is_fresh=True) for n in range(10)]
        assert await cost_of(redis, lambda: pair.transport.publish(envelopes), besides=("info",)) == 5
        assert await cost_of(redis, fetch, besides=("info", "time")) == 9
        assert await cost_of(redis, lambda: finish(consumer, deliveries), besides=("info", "time")) == 15
        assert len(deliveries) == 10


async def test_calls_that_come_together_say_once_what_limits_allow(own_redis: StartRedis) -> None:
    """The first calls of a process are many where requests have waited for it."""
    server = own_redis()
    broker = RedisBroker(server.url)

    @broker.task(rate_limit=RateLimit(100, per=60))
    async def limited() -> None: ...

    async with broker, Redis.from_url(server.url) as redis:
        await asyncio.gather(*[limited.kiq() for _ in range(50)])
        # One of the limit, and one for the body of each call.
        assert (await redis.info("commandstats"))["cmdstat_hsetnx"]["calls"] == 1 + 50


async def test_waiting_beside_suspects_costs_nothing(own_redis: StartRedis) -> None:
    """While suspects are ready that a waiting consumer may not take, it sends no commands."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        first, dead, busy = [await pair.consumer() for _ in range(3)]
        await pair.publish("a", "b")
        await first.fetch(LIMITS, 2)
        assert await pair.transport.release([first.name]) == 2
        await dead.fetch(LIMITS, 2)
        fetching = asyncio.create_task(busy.fetch(LIMITS, 10, suspects=0))
        await wait_until(lambda: has_blocked_client(redis), "the fetch waits")
        assert await pair.transport.release([dead.name]) == 2
        before = await commands_of(redis)
        looks = 100
        for _ in range(looks):
            assert await has_blocked_client(redis)
        assert await commands_of(redis) == before + looks + 1
        await busy.interrupt()
        assert list(await fetching) == []


async def test_a_queued_message_takes_little_memory(own_redis: StartRedis) -> None:
    """A message of about 200 bytes takes at most 360 bytes of the server's memory, all keys together."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        before = (await redis.info("memory"))["used_memory"]
        for _ in range(40):
            ids = [new_id() for _ in range(500)]
            await pair.transport.publish([Envelope(id, QUEUE, body_of(id), is_fresh=True) for id in ids])
        assert 180 <= len(body_of(new_id())) <= 205
        used = (await redis.info("memory"))["used_memory"] - before
        assert used / 20_000 <= 360  # 332 in Redis 7.0, 354 in 8.0


async def test_ten_thousand_calls_are_watched_on_constant_connections(own_redis: StartRedis) -> None:
    """Waiting for 10,000 calls takes the connections that waiting for one takes, and all are told."""
    server = own_redis()
    told: set[str] = set()

    def take(notices: Sequence[Notice]) -> None:
        told.update(notice.id for notice in notices if notice.record == RECORD)

    async with opened(server.url) as pair, opened(server.url) as worker, Redis.from_url(server.url) as redis:
        ids = [str(n) for n in range(10_000)]
        address = await pair.store.listen(Listener(take, lambda: None))
        listening = asyncio.create_task(pair.store.run())
        await pair.publish(*ids)
        consumer = await worker.consumer()
        await pair.store.look([CallKey(ids[0], QUEUE)], watcher=address)
        before = (await redis.info("clients"))["connected_clients"]
        await pair.store.look([CallKey(id, QUEUE) for id in ids], watcher=address)
        assert (await redis.info("clients"))["connected_clients"] == before
        while deliveries := await consumer.fetch(LIMITS, 500, wait=False):
            await consumer.settle([Done(delivery, KEPT) for delivery in deliveries])
        await wait_until(lambda: len(told) == 10_000, "all ends are told")
        assert (await redis.info("clients"))["connected_clients"] <= before + 2  # what fetches, and what settles
        listening.cancel()
        await asyncio.wait([listening])


def body_of(id: str) -> bytes:
    """Return the body of an ordinary message with 100 bytes of payload."""
    return encode_message(Message(v=1, id=id, task="shop.mail:send", args=["x" * 100], enqueued_ms=1_763_713_000_000))


async def has_blocked_client(redis: Redis) -> bool:
    """Say whether a client waits in a blocking command."""
    return (await redis.info("clients"))["blocked_clients"] > 0


async def cost_of(redis: Redis, step: Callable[[], Awaitable[object]], *, besides: Sequence[str]) -> int:
    """Return how many commands the server ran for this, leaving out some by their names.

    What a new connection of the client says of itself, from Redis 7.2 on, is no part of it either.
    """
    others = {f"cmdstat_{name}" for name in (*besides, "client|setinfo")}

    async def calls() -> int:
        stats = await redis.info("commandstats")
        return sum(stat["calls"] for name, stat in stats.items() if name not in others)

    before, total = await calls(), await commands_of(redis)
    await step()
    assert await commands_of(redis) > total
    return await calls() - before
