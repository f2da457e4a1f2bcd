"""What happens when the server dies, forgets, is full, or does not answer."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from asyncq.queues import Queue
from asyncq.redis import RedisClient, RedisTransport
from asyncq.redis.consumer import RedisConsumer
from asyncq.redis.script import ScriptSet
from asyncq.store import CallKey, Listener
from asyncq.transport import Done, Envelope, Return
from tests.chaos.proxy import Proxy
from tests.redis.pairs import KEPT, LIMITS, MINUTE_MS, QUEUE, RECORD, Pair, finish, opened
from tests.servers import RedisServer, StartRedis, free_port
from tests.waiting import wait_until

COUNT = 3_000


async def test_nothing_is_lost_when_the_server_is_killed(own_redis: StartRedis) -> None:
    """With its append-only file, three kills while publishing, fetching and settling lose no message and no result."""
    server = own_redis(appendonly=True)
    ended: set[str] = set()
    async with opened(server.url) as pair, opened(server.url) as worker:
        consumer = await worker.consumer()
        async with asyncio.TaskGroup() as group:
            group.create_task(publish_all(pair))
            group.create_task(end_all(consumer, ended))
            for part in (1, 2, 3):
                await wait_until(lambda part=part: len(ended) > part * COUNT / 5, "work is done", timeout=30)
                await asyncio.to_thread(server.restart)
        assert ended == {str(n) for n in range(COUNT)}
        [counts] = await pair.transport.counts([QUEUE])
        assert sum(counts) == 0
        sightings = await pair.store.look([CallKey(str(n), QUEUE) for n in range(COUNT)])
        assert {sighting and sighting.record for sighting in sightings} == {RECORD}


async def test_forgotten_scripts_are_given_again(own_redis: StartRedis) -> None:
    """After SCRIPT FLUSH everything works on, a waiting fetch and the lease's thread included."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        consumer = await pair.consumer()
        lease = consumer.lease()
        assert list(await consumer.fetch(LIMITS, 1, wait=False)) == []
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        await wait_until(lambda: is_blocked(redis), "the fetch waits")
        await redis.script_flush()
        await pair.publish("a")
        deliveries = list(await fetching)
        await redis.script_flush()
        await finish(consumer, deliveries)
        await redis.script_flush()
        assert await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)
        await redis.script_flush()
        [sighting] = await pair.store.look([CallKey("a", QUEUE)])
        assert sighting is not None
        assert sighting.record == RECORD


@pytest.mark.parametrize("knows_flags", [True, False])
async def test_a_full_server_refuses_messages_and_drains(own_redis: StartRedis, knows_flags: bool) -> None:
    """With its memory full the server refuses to publish and all else goes on; with the scripts of Redis 6.2, too."""
    server = own_redis("--maxmemory-policy", "noeviction")
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        pair.client.server._scripts = ScriptSet(with_flags=knows_flags)  # pyright: ignore[reportPrivateUsage]
        await pair.publish("a", "b", "c", "d")
        await redis.config_set("maxmemory", "1")
        [receipt] = await pair.transport.publish([Envelope("e", QUEUE, b"")])
        assert isinstance(receipt, PublishRefused)
        assert "maxmemory" in str(receipt)
        consumer = await pair.consumer()
        lease = consumer.lease()
        assert await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)
        await pair.store.look([CallKey("a", QUEUE)], watcher="somebody")
        a, b, c, d = await consumer.fetch(LIMITS, 10)
        await finish(consumer, [a, b])
        assert list(await consumer.settle([Return(c, is_crash=True)])) == [True]
        assert [(delivery.id, delivery.crashes) for delivery in await consumer.fetch(LIMITS, 10)] == [("c", 1)]
        await consumer.absolve()
        assert await pair.transport.withdraw("d", QUEUE, KEPT, even_running=True)
        assert list(await consumer.settle([Done(d, KEPT)])) == [False]
        assert await pair.transport.release([consumer.name]) == 1
        assert await pair.transport.withdraw("c", QUEUE, KEPT)
        assert await (await pair.consumer()).leave() == 0
        await redis.config_set("maxmemory", "0")
        await pair.publish("e")


@pytest.mark.parametrize("knows_flags", [True, False])
async def test_what_follows_is_published_by_a_full_server(own_redis: StartRedis, knows_flags: bool) -> None:
    """A follow-up is part of its settlement: no full memory and no full queue keeps it out."""
    server = own_redis("--maxmemory-policy", "noeviction")
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        pair.client.server._scripts = ScriptSet(with_flags=knows_flags)  # pyright: ignore[reportPrivateUsage]
        bounded = RedisTransport(pair.client, namespace="test", queues=[Queue("small", max_length=1)])
        await bounded.publish([Envelope("waiting", "small", b"")])
        await pair.publish("a")
        consumer = await pair.consumer()
        [delivery] = await consumer.fetch(LIMITS, 1)
        await redis.config_set("maxmemory", "1")
        due_ms = pair.transport.now_ms() + MINUTE_MS
        then = [Envelope("next", "small", b"", priority=3), Envelope("later", "reports", b"", due_ms=due_ms)]
        assert list(await consumer.settle([Done(delivery, KEPT, then)])) == [True]
        [small, reports] = await pair.transport.counts(["small", "reports"])
        assert (small.ready, reports.scheduled) == (2, 1)


async def test_a_server_that_is_not_there_is_named(namespace: str) -> None:
    """Opening says which server was tried, at once and without its password."""
    port = free_port()
    client = RedisClient(f"redis://user:secret@127.0.0.1:{port}/0")
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}") as caught:
        await client.open()
    assert "secret" not in str(caught.value)
    await client.close()


async def test_a_wrong_password_is_said(own_redis: StartRedis) -> None:
    """What the server answers to a wrong password is in the error."""
    server = own_redis()
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("requirepass", "right")
    client = RedisClient(server.url.replace("redis://", "redis://:wrong@"))
    with pytest.raises(BrokerUnavailable, match=r"(?i)password|WRONGPASS"):
        await client.open()
    await client.close()


def test_a_url_that_names_no_server_is_refused() -> None:
    """A URL of another kind is a fault of the program."""
    with pytest.raises(ConfigurationError, match="no URL of a Redis server"):
        RedisClient("http://localhost")


async def test_a_server_that_does_not_answer_is_given_up_in_time(own_redis: StartRedis) -> None:
    """While the server hangs every verb raises after the command timeout; when it goes on, so does everything."""
    server = own_redis()
    async with opened(server.url, command_timeout=1) as pair:
        consumer = await pair.consumer()
        lease = consumer.lease()
        await pair.publish("a")
        deliveries = list(await consumer.fetch(LIMITS, 1))
        server.pause()
        started = time.monotonic()
        for attempt in (
            pair.transport.publish([Envelope("b", QUEUE, b"")]),
            consumer.fetch(LIMITS, 1, wait=False),
            consumer.settle([Done(delivery, KEPT) for delivery in deliveries]),
            pair.store.look([CallKey("a", QUEUE)]),
            asyncio.to_thread(lease.renew),
        ):
            with pytest.raises(BrokerUnavailable):
                await attempt
        assert time.monotonic() - started < 10
        server.resume()
        await pair.transport.publish([Envelope("b", QUEUE, b"")])
        await settle_at_last(consumer, deliveries)
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["b"]
        assert await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)


async def test_a_listener_is_told_to_look_again_after_an_outage(own_redis: StartRedis) -> None:
    """A subscription comes back by itself, says that notices may have been missed, and brings those that follow."""
    server = own_redis(appendonly=True)
    told: list[str] = []
    is_resynced = asyncio.Event()
    async with opened(server.url) as pair:
        listener = Listener(lambda notices: told.extend(notice.id for notice in notices), is_resynced.set)
        address = await pair.store.listen(listener)
        listening = asyncio.create_task(pair.store.run())
        await pair.publish("a")
        await asyncio.to_thread(server.restart)
        await is_resynced.wait()
        await pair.store.look([CallKey("a", QUEUE)], watcher=address)
        consumer = await pair.consumer()
        await finish(consumer, list(await consumer.fetch(LIMITS, 1)))
        await wait_until(lambda: told == ["a"], "the end is told")
        listening.cancel()
        await asyncio.wait([listening])


async def test_a_connection_that_was_lost_between_two_calls(own_redis: StartRedis) -> None:
    """What is sent on a connection that the loop has closed meanwhile goes over a new one."""
    async with opened(own_redis().url) as pair:
        await pair.publish("a")
        wire: Any = pair.client.commands._wire  # pyright: ignore[reportPrivateUsage]
        transport = wire._writer.transport
        transport.abort()
        await wait_until(lambda: is_refused(transport), "the loop has closed it")
        await pair.publish("b")


def is_refused(transport: asyncio.WriteTransport) -> bool:
    """Say whether uvloop would raise."""
    try:
        transport.writelines([])
    except RuntimeError:
        return True
    return False


def test_a_connection_that_was_lost_on_the_default_loop(redis_url: str, namespace: str) -> None:
    """The same holds on asyncio's own loop, as web servers run it, whatever its Python says of such a connection."""

    async def publish() -> None:
        async with opened(redis_url, namespace) as pair:
            await pair.publish("a")
            wire: Any = pair.client.commands._wire  # pyright: ignore[reportPrivateUsage]
            transport = wire._writer.transport
            transport.abort()
            await wait_until(lambda: getattr(transport, "_loop", None) is None, "the loop has closed it")
            await pair.publish("b")

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(publish())


async def test_publishing_rides_out_a_restart(own_redis: StartRedis) -> None:
    """A publish that meets a restart of the server waits for it, and publishes each message once."""
    server: RedisServer = own_redis(appendonly=True)
    async with opened(server.url) as pair:
        await pair.publish("a")
        server.kill()
        publishing = asyncio.create_task(
            pair.transport.publish([Envelope(str(n), QUEUE, b"", is_fresh=True) for n in range(700)])
        )
        await asyncio.to_thread(server.start)
        assert list(await publishing) == [None] * 700
        [counts] = await pair.transport.counts([QUEUE])
        assert counts.ready == 701


async def test_the_first_wait_rides_out_a_restart(own_redis: StartRedis) -> None:
    """Who subscribes while the server restarts waits for it; who does while it is away is told so in time."""
    server = own_redis(appendonly=True)
    async with opened(server.url, command_timeout=0.5) as pair:
        server.kill()
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"tried to subscribe for 0.5 s"):
            await pair.store.listen(Listener(lambda notices: None, lambda: None))
        assert time.monotonic() - started < 4
        await asyncio.to_thread(server.start)
    async with opened(server.url) as pair:
        server.kill()
        listening = asyncio.create_task(pair.store.listen(Listener(lambda notices: None, lambda: None)))
        await asyncio.to_thread(server.start)
        assert await listening


async def test_a_connection_that_was_reset_while_idle(own_redis: StartRedis) -> None:
    """A connection that broke while nobody used it is opened anew by whoever uses it next."""
    server = own_redis()
    with Proxy(server.port) as network:
        async with opened(network.url()) as pair:
            consumer = await pair.consumer()
            await pair.publish("a")
            deliveries = list(await consumer.fetch(LIMITS, 1))
            for _ in range(2):
                network.cut()
                await asyncio.sleep(0.05)  # for the loop to see it, while nobody reads or writes
                await settle_at_last(consumer, deliveries)
                await pair.publish("b")
                await pair.store.look([CallKey("a", QUEUE)])


async def publish_all(pair: Pair) -> None:
    """Publish, again and again until it is confirmed."""
    for start in range(0, COUNT, 20):
        envelopes = [Envelope(str(n), QUEUE, b"body", is_fresh=True) for n in range(start, start + 20)]
        while True:
            try:
                await pair.transport.publish(envelopes)
            except BrokerUnavailable:
                continue
            break


async def end_all(consumer: RedisConsumer, ended: set[str]) -> None:
    """Fetch and end until all are ended, as a worker that finds its server gone now and then."""
    while len(ended) < COUNT:
        try:
            deliveries = list(await consumer.fetch(LIMITS, 30))
        except BrokerUnavailable:
            await asyncio.sleep(0.01)  # before the next try
            continue
        await settle_at_last(consumer, deliveries)
        ended.update(delivery.id for delivery in deliveries)


async def settle_at_last(consumer: RedisConsumer, deliveries: "list") -> None:
    """Settle, again and again until it is confirmed."""
    while True:
        try:
            await consumer.settle([Done(delivery, KEPT) for delivery in deliveries])
        except BrokerUnavailable:
            await asyncio.sleep(0.01)  # before the next try
            continue
        return


async def is_blocked(redis: Redis) -> bool:
    """Say whether a client waits in a blocking command."""
    return (await redis.info("clients"))["blocked_clients"] > 0
