"""Every way in which a connection breaks or a server says no: tasks go on, and the worker with them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from asyncq import BrokerUnavailable, broker_from_url
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.servers import RedisServer, StartRedis, free_port
from tests.waiting import wait_until
from tests.working import working

T = TypeVar("T")

COMMAND_TIMEOUT = 0.5
OUTAGE = 1.3
"""Longer than a command may take, so that whoever waits for an answer gets to know."""

Outage = Callable[[RedisServer, Proxy], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def refused(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """Nobody listens."""
    await asyncio.to_thread(server.kill)
    yield
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def reset(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """Connections are reset again and again."""
    async with repeated(network.cut):
        yield


@asynccontextmanager
async def ended(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """Connections are ended in order, by the server's side only."""
    async with repeated(lambda: network.half_close(Direction.TO_CLIENT)):
        yield


@asynccontextmanager
async def frozen(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """The server stands still with all connections open."""
    server.pause()
    yield
    server.resume()


@asynccontextmanager
async def blackholed(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """Nothing arrives, in both directions."""
    network.blackhole()
    yield
    network.heal()


@asynccontextmanager
async def deaf(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """What the server says does not arrive."""
    network.blackhole(Direction.TO_CLIENT)
    yield
    network.heal()


@asynccontextmanager
async def slow(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """Everything arrives later than anybody waits."""
    network.delay(2 * COMMAND_TIMEOUT)
    yield
    network.heal()


@asynccontextmanager
async def read_only(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """READONLY: the server has become a replica."""
    async with Redis.from_url(server.url) as redis:
        await redis.replicaof("127.0.0.1", free_port())
        yield
        await redis.replicaof("NO", "ONE")


@asynccontextmanager
async def without_master(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """MASTERDOWN: the server has become a replica that has lost its master, and says nothing of its data."""
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("replica-serve-stale-data", "no")
        await redis.replicaof("127.0.0.1", free_port())
        yield
        await redis.replicaof("NO", "ONE")


@asynccontextmanager
async def without_replicas(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """NOREPLICAS: the server takes writes only while it has replicas, and has lost them."""
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("min-replicas-to-write", 1)
        yield
        await redis.config_set("min-replicas-to-write", 0)


@asynccontextmanager
async def loading(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """LOADING: the server reads its data, for a few seconds."""
    async with Redis.from_url(server.url) as redis:
        async with redis.pipeline() as pipeline:
            for number in range(3_000):
                pipeline.set(f"filling:{number}", "x" * 1_000)
            await pipeline.execute()
        await redis.save()
        await redis.config_set("appendonly", "no")
    server._command += ["--appendonly", "no", "--key-load-delay", "1000"]  # pyright: ignore[reportPrivateUsage]
    server._command += ["--loading-process-events-interval-bytes", "1024"]  # pyright: ignore[reportPrivateUsage]
    await asyncio.to_thread(server.kill)
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(asyncio.to_thread(server.start))
        await wait_until(lambda: server.is_running, "it loads")
        yield
        await starting


@asynccontextmanager
async def busy(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """BUSY: somebody's script does not end."""
    async with Redis.from_url(server.url) as redis, Redis.from_url(server.url) as other:
        await redis.config_set("busy-reply-threshold", 50)
        async with asyncio.TaskGroup() as group:
            group.create_task(endless(redis))
            yield
            await until_killed(other)


@asynccontextmanager
async def locked(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """WRONGPASS: the password was changed, and everybody was disconnected."""
    async with Redis.from_url(server.url.replace("redis://", "redis://:secret@")) as redis:
        await redis.config_set("requirepass", "another")
        await redis.client_kill_filter(_type="normal", skipme=True)
        await redis.client_kill_filter(_type="pubsub")
        yield
        await redis.config_set("requirepass", "secret")


@asynccontextmanager
async def full(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """The server takes no more clients."""
    async with Redis.from_url(server.url.replace("redis://", "redis://:secret@")) as redis:
        await redis.config_set("maxclients", 1)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await redis.client_kill_filter(_type="pubsub")
        yield
        await redis.config_set("maxclients", 1_000)


@asynccontextmanager
async def forgetful(server: RedisServer, network: Proxy) -> AsyncIterator[None]:
    """NOSCRIPT: all scripts are forgotten, again and again; this one is no outage at all."""
    async with Redis.from_url(server.url.replace("redis://", "redis://:secret@")) as redis:
        await redis.script_flush()
        yield
        await redis.script_flush()


OUTAGES = (
    *(refused, reset, ended, frozen, blackholed, deaf, slow, read_only),
    *(without_master, without_replicas, loading, busy, locked, full, forgetful),
)


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)
async def test_an_outage(own_redis: StartRedis, namespace: str, outage: Outage) -> None:
    """Tasks run on, and settle once when it is over; who publishes is told in time; the worker fetches again."""
    server = own_redis(appendonly=True)
    url = await with_password(server) if outage in (locked, full, forgetful) else ""
    with Proxy(server.port) as network:
        url = (url or server.url).replace(str(server.port), str(network.port))
        broker = broker_from_url(url, namespace=namespace, command_timeout=COMMAND_TIMEOUT)
        goes_on, runs = asyncio.Event(), list[str]()

        @broker.task
        async def work(name: str) -> str:
            runs.append(name)
            await goes_on.wait()
            return name

        async with broker, working(broker):
            running = [await work.kiq(name) for name in "ab"]
            await wait_until(lambda: len(runs) == 2, "the tasks run")
            async with outage(server, network), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(OUTAGE))  # the outage itself
                goes_on.set()
                if outage is not forgetful:
                    await publishing_fails_in_time(lambda: work.kiq("c"))
            async with asyncio.timeout(10):
                assert [await handle for handle in running] == ["a", "b"]
                assert await (await published(lambda: work.kiq("d"))) == "d"
        assert [name for name in runs if name in "ab"] == ["a", "b"]


async def test_connections_that_died_in_silence(own_redis: StartRedis, namespace: str) -> None:
    """A worker whose connections were all forgotten by the network, without a word, runs tasks again within 10 s."""
    server = own_redis()
    with Proxy(server.port) as before, Proxy(server.port) as network:
        broker = broker_from_url(before.url(), namespace=namespace)

        @broker.task
        async def work(name: str) -> str:
            return name

        async with broker, working(broker), broker_from_url(server.url, namespace=namespace) as elsewhere:
            assert await (await work.kiq("a")) == "a"
            before.blackhole()  # and it stays so for what is open: only new connections pass
            before.refuse()
            network.refuse()
            network.port = before.port
            network.heal()
            since = time.monotonic()
            message = work.message("b")
            await elsewhere.kiq_many([message])
            result = await elsewhere.handle(message.id).result(timeout=20)
            assert result.value == "b"
            print(f"deaf for {time.monotonic() - since:.1f} s")
            assert time.monotonic() - since < 10.5


async def publishing_fails_in_time(publish: Callable[[], Awaitable[object]]) -> None:
    """Publish until the broker is unavailable; it says so when a command has had its time."""
    while True:
        started = time.monotonic()
        try:
            await publish()
        except BrokerUnavailable:
            assert time.monotonic() - started < COMMAND_TIMEOUT + 0.5
            return


async def published(publish: Callable[[], Awaitable[T]]) -> T:
    """Publish, again and again until it is confirmed."""
    while True:
        with suppress(BrokerUnavailable):
            return await publish()


@asynccontextmanager
async def repeated(cut: Callable[[], object]) -> AsyncIterator[None]:
    """Cut connections all the time."""

    async def go_on() -> None:
        while True:
            cut()
            await asyncio.sleep(0.001)  # between two cuts

    async with asyncio.TaskGroup() as group:
        cutting = group.create_task(go_on())
        yield
        cutting.cancel()


async def endless(redis: Redis) -> None:
    """Run a script until it is killed."""
    with suppress(RedisError):
        await redis.eval("while true do end", 0)


async def until_killed(redis: Redis) -> None:
    """Kill the script that runs."""
    while True:
        try:
            await redis.script_kill()
        except RedisError:
            await asyncio.sleep(0.01)  # before the next try
        else:
            return


async def with_password(server: RedisServer) -> str:
    """Give the server a password, and return its URL with it."""
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("requirepass", "secret")
    return server.url.replace("redis://", "redis://:secret@")
