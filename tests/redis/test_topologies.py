"""Where the master is: how it is named, found, and found again."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from asyncq import broker_from_url
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.redis import RedisClient
from asyncq.redis.lease import ThreadLink
from asyncq.redis.server import Server
from asyncq.store import CallKey, Listener
from asyncq.transport import Envelope
from tests.redis.pairs import LIMITS, QUEUE, RECORD, Pair, finish, opened
from tests.redis.rights import PASSWORD, USER, create_user
from tests.servers import HOST, RedisServer, free_port
from tests.topologies import SERVICE, Masters, RedisCluster, Sentinels
from tests.waiting import wait_until

COUNT = 600


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A cluster of the test's own."""
    with RedisCluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def own_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A master with sentinels of the test's own."""
    with Sentinels(tmp_path) as sentinels:
        yield sentinels


async def test_a_frozen_master_is_left(masters: Masters, namespace: str) -> None:
    """When a master freezes and another is promoted, publishing, fetching, the lease and notices follow."""
    url, master = masters
    told: list[str] = []
    async with opened(url, namespace, command_timeout=3) as pair:
        listener = Listener(
            lambda notices: told.extend(notice.id for notice in notices), lambda: told.append("look again")
        )
        address = await pair.store.listen(listener)
        async with in_background(pair.store.run()):
            consumer = await pair.consumer()
            lease = consumer.lease()
            assert await asyncio.to_thread(lease.renew)
            await consumer.fetch(LIMITS, 1, wait=False)
            old = master()
            old.pause()
            await wait_until(lambda: master() is not old, "another is promoted", timeout=30)
            async with asyncio.timeout(10):
                await until_it_works(lambda: pair.publish("a"))
                await until_it_works(lambda: asyncio.to_thread(lease.renew))
            old.resume()
            [delivery] = await until_it_works(lambda: consumer.fetch(LIMITS, 1))
            await until_it_works(lambda: pair.store.look([CallKey("a", QUEUE)], watcher=address))
            told.clear()
            await finish(consumer, [delivery])
            await wait_until(lambda: bool(told), "the end is told, or that it may have been missed")
            assert await port_of(pair) == master().port != old.port
            await asyncio.to_thread(lease.close)


async def test_a_master_that_only_clients_reach(own_sentinels: Sentinels, namespace: str) -> None:
    """Who waits at a master that the sentinels have given up, and that still answers, is at the new one within 10 s."""
    old = own_sentinels.master()
    for server in own_sentinels.servers:
        create_user(server, "+role")
    url = own_sentinels.url.replace("redis+sentinel://", f"redis+sentinel://{USER}:{PASSWORD}@")
    told: list[str] = []
    async with opened(url, namespace) as pair, Redis.from_url(old.url) as redis:
        listener = Listener(lambda _: None, lambda: told.append("look again"))
        await pair.store.listen(listener)
        consumer = await pair.consumer()
        async with in_background(pair.store.run()), in_background(consumer.run(lambda _: None)):
            fetching = asyncio.create_task(until_it_works(lambda: consumer.fetch(LIMITS, 1)))
            await wait_until(lambda: is_waiting(redis), "the fetch waits")
            # To the sentinels it is dead from now on, and not to be talked to.
            await redis.execute_command("ACL", "SETUSER", "default", "-ping", "-slaveof", "-multi", "-client")
            await wait_until(lambda: own_sentinels.master() is not old, "another is promoted", timeout=30)
            role: Any = await redis.execute_command("ROLE")
            assert role[0] == b"master", "the old one does not know"
            async with asyncio.timeout(12):
                async with opened(url, namespace) as other:
                    await until_it_works(lambda: other.publish("a"))
                [delivery] = await fetching or await until_it_works(lambda: consumer.fetch(LIMITS, 1))
                assert delivery.id == "a"
                await wait_until(lambda: bool(told), "the listener is told to look again")
            assert await port_of(pair) == own_sentinels.master().port


async def test_a_planned_failover_loses_nothing(own_cluster: RedisCluster, namespace: str) -> None:
    """A replica that takes over by CLUSTER FAILOVER amid publishing and settling costs no message and no result."""
    ended: list[str] = []
    async with opened(own_cluster.url, namespace) as pair, opened(own_cluster.url, namespace) as worker:
        consumer = await worker.consumer()
        async with asyncio.TaskGroup() as group:
            group.create_task(publish_all(pair))
            ending = group.create_task(end_all(consumer, ended))
            await wait_until(lambda: len(ended) > COUNT / 3, "a part has ended")
            old = own_cluster.master_of(namespace)
            await fail_over(own_cluster, namespace)
            await wait_until(lambda: own_cluster.master_of(namespace) is not old, "the replica is the master")
            await ending
        assert sorted(ended) == sorted({*ended}), "nothing was ended twice"
        sightings = await pair.store.look([CallKey(str(n), QUEUE) for n in range(COUNT)])
        assert {sighting and sighting.record for sighting in sightings} == {RECORD}


async def test_a_slot_that_moves(own_cluster: RedisCluster, namespace: str) -> None:
    """While its slot moves to another node key by key a namespace may pause; then all is where it was, on that node."""
    async with opened(own_cluster.url, namespace) as pair:
        consumer = await pair.consumer()
        await pair.publish(*map(str, range(50)))
        deliveries = list(await consumer.fetch(LIMITS, 10))
        async with move_slot(own_cluster, namespace) as target:
            publishing = asyncio.create_task(pair.publish("late"))
            settling = asyncio.create_task(until_it_works(lambda: finish(consumer, deliveries)))
        await publishing
        await settling
        rest = list(await until_it_works(lambda: consumer.fetch(LIMITS, 100)))
        assert [delivery.id for delivery in rest] == [*map(str, range(10, 50)), "late"]
        assert await port_of(pair) == target.port


@pytest.mark.parametrize("alive", [0, 5])
async def test_one_node_of_a_cluster_is_enough(redis_cluster: RedisCluster, namespace: str, alive: int) -> None:
    """Of the nodes that a URL names one has to be there, be it a replica of others."""
    nodes = [f"{HOST}:{free_port()}", f"{HOST}:{redis_cluster.nodes[alive].port}", f"{HOST}:{free_port()}"]
    async with opened(f"redis+cluster://{','.join(nodes)}", namespace) as pair:
        await pair.publish("a")


async def test_a_cluster_is_recognised(redis_cluster: RedisCluster) -> None:
    """Whichever node a plain URL names, namespaces of all slots are served, with results and notices."""
    for number in range(12):
        async with broker_from_url(redis_cluster.nodes[number % 6].url, namespace=f"test-{number}") as broker:
            handle = await broker.task(work).options(id="the-same").kiq(number)
            assert await handle.status() == "queued"


async def test_one_sentinel_is_enough(sentinels: Sentinels, namespace: str) -> None:
    """Of the sentinels that a URL names one has to be there."""
    hosts = f"{HOST}:{free_port()},{HOST}:{sentinels.sentinels[2].port}"
    async with opened(f"redis+sentinel://{hosts}/{SERVICE}", namespace) as pair:
        await pair.publish("a")


async def test_silent_sentinels_hold_up_no_lease(sentinels: Sentinels) -> None:
    """Two sentinels that take connections and say nothing delay a lease's thread by less than a connect may take."""
    with ExitStack() as silent:
        hosts = [f"{HOST}:{silent.enter_context(silent_port())}" for _ in range(2)]
        hosts.append(f"{HOST}:{sentinels.sentinels[2].port}")
        server = Server(f"redis+sentinel://{','.join(hosts)}/{SERVICE}", connect_timeout=1.5, command_timeout=5)
        with closing(ThreadLink(server)) as link:
            started = time.monotonic()
            await asyncio.to_thread(link.call, [("PING",)], "ping")
            assert time.monotonic() - started < 1.5


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections, and where nobody answers."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


async def test_an_unknown_service_is_said(sentinels: Sentinels) -> None:
    """The error names the service that no sentinel knows."""
    client = RedisClient(sentinels.url.replace(SERVICE, "another"))
    with pytest.raises(BrokerUnavailable, match="knows no service 'another'"):
        await client.open()
    await client.close()


async def test_a_sentinel_is_no_server(sentinels: Sentinels) -> None:
    """Who names a sentinel as if it kept the data is told how to name the service."""
    client = RedisClient(sentinels.sentinels[0].url)
    with pytest.raises(ConfigurationError, match=r"redis\+sentinel://"):
        await client.open()
    await client.close()


async def test_a_server_is_no_cluster(redis_url: str) -> None:
    """Who names a single server as a cluster is told so."""
    client = RedisClient(redis_url.replace("redis://", "redis+cluster://"))
    with pytest.raises(BrokerUnavailable, match="cluster support disabled"):
        await client.open()
    await client.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://a,b", "names 2 hosts"),
        ("redis+sentinel://a,b", "which service"),
        ("redis+sentinel://a:x/service", "'a:x'"),
        ("redis+cluster://a/3", "database 0 only"),
        ("redis+proxy://a", "its scheme is 'redis\\+proxy'"),
        ("redis+://a", "its scheme is"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, text: str) -> None:
    """What a URL lacks, or has too much of, is said."""
    with pytest.raises(ConfigurationError, match=text):
        RedisClient(url)


def test_secrets_are_not_shown() -> None:
    """Neither the password of the servers nor that of the sentinels is in what a broker is called."""
    broker = broker_from_url("redis+sentinel://user:secret@a:1,b:2/service/0?sentinel_password=secret")
    assert "secret" not in repr(broker)
    assert "secret" not in RedisClient(broker.url).server.address  # pyright: ignore[reportAttributeAccessIssue]


async def is_waiting(redis: Redis) -> bool:
    """Say whether somebody waits in a blocking command."""
    return (await redis.info("clients"))["blocked_clients"] > 0


async def port_of(pair: Pair) -> int:
    """Return the port of the server that commands go to."""
    [reply] = await pair.client.commands.call([("INFO", "server")], wanted="ask for the port")
    return next(int(line[9:]) for line in reply.decode().splitlines() if line.startswith("tcp_port:"))


async def work(number: int) -> int:
    """Only its name is of use here."""
    return number


async def publish_all(pair: Pair) -> None:
    """Publish one after the other; each call rides out what comes between."""
    for number in range(COUNT):
        await pair.transport.publish([Envelope(str(number), QUEUE, b"body", is_fresh=True)])


async def end_all(consumer, ended: list[str]) -> None:
    """Fetch and end until all are ended, as a worker does."""
    while len(ended) < COUNT:
        deliveries = list(await until_it_works(lambda: consumer.fetch(LIMITS, 10)))
        await until_it_works(lambda deliveries=deliveries: finish(consumer, deliveries))
        ended += [delivery.id for delivery in deliveries]


async def until_it_works(attempt):
    """Try again while the broker is unavailable, and return what it returned."""
    while True:
        try:
            return await attempt()
        except BrokerUnavailable:
            await asyncio.sleep(0.02)  # before the next try


@asynccontextmanager
async def in_background(doer) -> AsyncIterator[None]:
    """Run a doer beside the block."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(doer)
        try:
            yield
        finally:
            running.cancel()


async def fail_over(cluster: RedisCluster, namespace: str) -> None:
    """Have a replica of the namespace's master take over in order."""
    port = cluster.master_of(namespace).port
    async with Redis(host=HOST, port=port) as redis:
        role: Any = await redis.execute_command("ROLE")
        [[_, replica, _]] = role[2]
    async with Redis(host=HOST, port=int(replica)) as redis:
        await redis.execute_command("CLUSTER", "FAILOVER")


@asynccontextmanager
async def move_slot(cluster: RedisCluster, namespace: str) -> AsyncIterator[RedisServer]:
    """Move the namespace's slot to another master: half of its keys before the block, the rest after it."""
    slot = key_slot(f"{{{namespace}}}".encode())
    source = cluster.master_of(namespace)
    target = next(node for node in cluster.nodes[:3] if node is not source)
    async with Redis(host=HOST, port=source.port) as old, Redis(host=HOST, port=target.port) as new:
        old_id, new_id = await old.execute_command("CLUSTER MYID"), await new.execute_command("CLUSTER MYID")
        await new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
        await old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
        keys: Any = await old.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
        for number, key in enumerate(keys):
            await old.execute_command("MIGRATE", HOST, target.port, key, 0, 5000)
            if number == len(keys) // 2:
                yield target
        rest: Any = await old.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
        for key in rest:
            await old.execute_command("MIGRATE", HOST, target.port, key, 0, 5000)
        for node in (new, old):
            await node.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)
