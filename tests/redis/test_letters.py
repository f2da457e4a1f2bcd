"""Dead letters on Redis: lost replies, a full server, what is left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable
from asyncq.transport import Dead, DeadLetter, Envelope, Outcome, Revival, Revived
from tests.redis.pairs import LIMITS, MINUTE_MS, QUEUE, Pair, opened
from tests.servers import StartRedis

COUNT = 3_000
NEXT_LIFE = b"next life"
FAILED = Outcome(b"failed", MINUTE_MS)


@pytest.mark.parametrize("is_revived", [True, False])
async def test_connections_that_are_cut(own_redis: StartRedis, is_revived: bool) -> None:
    """However often the connection is cut, each letter is put back or dropped once, and is answered as what it is."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        letters = await buried(pair, *(str(n) for n in range(COUNT)))
        async with cutting(redis) as cuts:
            if is_revived:
                answers = await pair.transport.revive([Revival(letter, NEXT_LIFE) for letter in letters])
                assert set(answers) == {Revived.DONE}
            else:
                assert set(await pair.transport.drop_letters(letters)) == {True}
        assert cuts() > 0
        [counts] = await pair.transport.counts([QUEUE])
        assert (counts.ready, counts.dead) == (COUNT if is_revived else 0, 0)
        consumer = await pair.consumer()
        ids: list[str] = []
        while deliveries := await consumer.fetch(LIMITS, 1_000, wait=False):
            ids += [delivery.id for delivery in deliveries]
        assert sorted(ids) == (sorted(letter.id for letter in letters) if is_revived else [])


async def test_a_full_server(own_redis: StartRedis) -> None:
    """With its memory full the server lists and drops letters; it puts none back, and loses none by that."""
    server = own_redis("--maxmemory-policy", "noeviction")
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        letters = await buried(pair, "a", "b")
        await redis.config_set("maxmemory", "1")
        with pytest.raises(BrokerUnavailable, match="refused to put back dead letters"):
            await pair.transport.revive([Revival(letter, NEXT_LIFE) for letter in letters])
        assert list(await pair.transport.dead_letters(QUEUE)) == list(letters)
        assert list(await pair.transport.drop_letters(letters[:1])) == [True]
        await redis.config_set("maxmemory", "0")
        assert list(await pair.transport.revive([Revival(letters[1], NEXT_LIFE)])) == [Revived.DONE]


async def test_nothing_is_left_of_letters_and_members(
    redis_url: str, namespace: str, no_keys_left: Callable[..., Awaitable[None]]
) -> None:
    """After letters were put back, dropped and have ended, and members have left, only the documented keys remain."""
    async with opened(redis_url, namespace) as pair:
        a, b = await buried(pair, "a", "b")
        assert list(await pair.transport.revive([Revival(a, NEXT_LIFE)])) == [Revived.DONE]
        assert list(await pair.transport.drop_letters([b])) == [True]
        consumer = await pair.consumer()
        lease = consumer.lease()
        assert await asyncio.to_thread(lease.renew, b"about")
        await asyncio.to_thread(lease.close)
        deliveries = await consumer.fetch(LIMITS, 10)
        assert all(await consumer.settle([Dead(delivery, Outcome(None), "", MINUTE_MS) for delivery in deliveries]))
        await consumer.leave()
    await no_keys_left(allowed=["{{namespace}}:q:mail:sequence", "{{namespace}}:q:mail:wake", "{{namespace}}:queues"])


async def test_a_queue_that_is_new(redis_url: str, namespace: str) -> None:
    """An id is in use also in a queue of which this process has never heard."""
    async with opened(redis_url, namespace) as pair, opened(redis_url, namespace) as other:
        (letter,) = await buried(pair, "a", outcome=Outcome(None))
        consumer = await other.transport.consumer("c", ["brand-new"], lease=60)
        await other.transport.publish([Envelope("a", "brand-new", b"")])
        assert list(await pair.transport.revive([Revival(letter, NEXT_LIFE)])) == [Revived.TAKEN]
        (delivery,) = await consumer.fetch({"brand-new": 1}, 1)
        assert delivery.id == "a"


async def buried(pair: Pair, *ids: str, outcome: Outcome = FAILED) -> Sequence[DeadLetter]:
    """Publish messages, let them die, and return their letters, the newest first."""
    await pair.publish(*ids)
    consumer = await pair.consumer()
    while deliveries := await consumer.fetch(LIMITS, 1_000, wait=False):
        assert all(await consumer.settle([Dead(each, outcome, "died", MINUTE_MS) for each in deliveries]))
    await consumer.leave()
    return await pair.transport.dead_letters(QUEUE, limit=len(ids))


@asynccontextmanager
async def cutting(redis: Redis) -> AsyncIterator[Callable[[], int]]:
    """Cut the connections of all others, ever more seldom, so that it works on any machine; yields how often."""
    count, pause = 0, 0.005

    async def cut() -> None:
        nonlocal count, pause
        while True:
            count += int(await redis.client_kill_filter(_type="normal", skipme=True))
            await asyncio.sleep(pause)
            pause *= 1.1

    async with asyncio.TaskGroup() as group:
        cutter = group.create_task(cut())
        yield lambda: count
        cutter.cancel()
