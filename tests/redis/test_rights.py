"""What a user of Redis may do, and what TLS is held to."""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis

from asyncq import Broker, BrokerUnavailable, ConcurrencyLimit, Every, RateLimit, Unique, broker_from_url
from asyncq.redis import RedisClient
from asyncq.redis.script import all_scripts
from asyncq.store import Listener
from asyncq.transport import Envelope
from tests.redis.pairs import KEPT, LIMITS, QUEUE, kept_up, opened
from tests.redis.rights import PASSWORD, USER, create_user, granted
from tests.servers import HOST, RedisServer, StartRedis, free_port
from tests.topologies import SERVICE, RedisCluster, Sentinels
from tests.waiting import wait_until
from tests.working import working

DIRECT = {
    *("INFO", "PING", "TIME", "SCRIPT|LOAD", "EVALSHA", "SUBSCRIBE"),
    *("BLPOP", "EXISTS", "SADD", "SMEMBERS", "SREM", "ZRANGE", "ZREM", "HMGET", "HDEL", "SCAN"),
}
"""What is said to the server beside scripts."""


def test_no_right_too_many() -> None:
    """The document grants what scripts call and what is said beside them, and nothing else."""
    in_scripts = {
        command for script in all_scripts().values() for command in re.findall(r"redis\.call\('(\w+)'", script.source)
    }
    assert granted() == in_scripts | DIRECT


async def test_everything_works_with_the_least_rights(own_redis: StartRedis) -> None:
    """A worker, a waiter and the lease get along with what the document grants; the server refused nothing.

    But for the client's name, from Redis 7.2 on, as the document says.
    """
    server = own_redis()
    url = create_user(server)
    async with broker_from_url(url, namespace="test-rights") as broker:
        await call_tasks(broker)
    async with Redis.from_url(server.url) as redis:
        assert {str(entry["object"]) for entry in await redis.acl_log()} <= {"client|setinfo"}


async def test_least_rights_in_a_cluster(tmp_path: Path) -> None:
    """In a cluster it takes the two rights more that the document names."""
    with RedisCluster(tmp_path) as cluster:
        for node in cluster.nodes:
            create_user(node, "+cluster|slots", "+cluster|myid")
        url = cluster.url.replace("redis://", f"redis://{USER}:{PASSWORD}@")
        async with broker_from_url(url, namespace="test-rights") as broker:
            await call_tasks(broker)


async def test_least_rights_with_sentinels(tmp_path: Path) -> None:
    """With Sentinel it takes one more, and one on the Sentinels, whose user and password the URL names."""
    with Sentinels(tmp_path) as sentinels:
        create_user(sentinels.master(), "+role")
        for sentinel in sentinels.sentinels:
            async with Redis(host=HOST, port=sentinel.port) as redis:
                rules = ("on", ">hidden", "-@all", "+sentinel|get-master-addr-by-name")
                await redis.execute_command("ACL", "SETUSER", "looker", *rules)
        url = sentinels.url.replace("redis+sentinel://", f"redis+sentinel://{USER}:{PASSWORD}@")
        url += "?sentinel_username=looker&sentinel_password=hidden"
        async with broker_from_url(url, namespace="test-rights") as broker:
            await call_tasks(broker)
        assert SERVICE in broker.describe()


@pytest.mark.parametrize(
    "rules", [["-script|load"], ["-evalsha"], ["-hset"], ["-zadd"], ["resetkeys", "~other:*"], ["-time"]], ids=str
)
async def test_a_missing_right_is_said(own_redis: StartRedis, rules: list[str]) -> None:
    """Who may not do what is needed is told so at once, and where the rights are written down."""
    url = create_user(own_redis(), *rules)
    with pytest.raises(BrokerUnavailable, match=r"refused to .*docs/redis\.md"):
        await publish_and_join(url)


async def test_a_missing_channel_is_said(own_redis: StartRedis) -> None:
    """So is who may not listen."""
    url = create_user(own_redis(), "resetchannels")
    async with opened(url, "test-rights") as pair:
        with pytest.raises(BrokerUnavailable, match=r"refused to subscribe.*docs/redis\.md"):
            await pair.store.listen(Listener(lambda _: None, lambda: None))


async def test_a_worker_that_may_not_listen_says_so(own_redis: StartRedis, caplog: pytest.LogCaptureFixture) -> None:
    """Who may run tasks and not be told of cancellations runs them, warns once, and listens when it may."""
    server = own_redis()
    told: list[str] = []
    async with opened(create_user(server, "resetchannels"), "test-rights") as pair:
        await pair.publish("a")
        consumer = await pair.consumer()
        async with kept_up(consumer, told.extend):
            await wait_until(lambda: "docs/redis.md" in caplog.text, "the worker warns")
            [a] = await consumer.fetch(LIMITS, 1)
            async with Redis.from_url(server.url) as redis:
                await wait_until(lambda: has_refused(redis, 3), "it has tried again")
                create_user(server)
                assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
                await wait_until(lambda: told == [a.token], "it is told")
    assert caplog.text.count("refused to subscribe") == 1


async def has_refused(redis: Redis, times: int) -> bool:
    """Say whether the server has refused something to somebody so often."""
    entries: Any = await redis.acl_log()
    return sum(entry["count"] for entry in entries) >= times


@pytest.mark.parametrize(("policy", "warns"), [("allkeys-lru", True), ("noeviction", False)])
async def test_a_policy_that_evicts_is_warned_of(
    own_redis: StartRedis, caplog: pytest.LogCaptureFixture, policy: str, warns: bool
) -> None:
    """Opening warns of a server that would delete messages when it is full; who may not ask says nothing."""
    server = own_redis("--maxmemory", "100mb", "--maxmemory-policy", policy)
    for url, is_told in ((server.url, warns), (create_user(server, "-info"), False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncq.redis"):
            async with opened(url, "test-rights"):
                pass
        assert ("noeviction" in caplog.text) is is_told


@contextmanager
def tls_server(folder: Path) -> Iterator[tuple[trustme.CA, int]]:
    """A server that speaks TLS beside its plain port, by a certificate of this authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"))
    options += ("--tls-key-file", str(folder / "key.pem"), "--tls-ca-cert-file", str(folder / "ca.pem"))
    with RedisServer(folder / "redis", *options):
        yield authority, port


async def test_tls(tmp_path: Path) -> None:
    """With the authority's file and a client's certificate everything works, the lease's thread included."""
    with tls_server(tmp_path) as (authority, port):
        client = authority.issue_cert("client")
        client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
        pem = tmp_path / "client.pem"
        files = f"ssl_ca_certs={tmp_path}/ca.pem&ssl_certfile={pem}&ssl_keyfile={pem}"
        async with broker_from_url(f"rediss://{HOST}:{port}/0?{files}", namespace="test-tls") as broker:
            await call_tasks(broker)


async def test_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    """A server whose certificate is not by the named authority is not talked to."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with tls_server(tmp_path) as (_, port):
        client = RedisClient(f"rediss://:secret@{HOST}:{port}/0?ssl_ca_certs={tmp_path}/other.pem")
        with pytest.raises(BrokerUnavailable, match=r"(?i)certificate") as caught:
            await client.open()
        assert "secret" not in str(caught.value)
        await client.close()


async def publish_and_join(url: str) -> None:
    """Do what needs most commands."""
    async with opened(url, "test-rights") as pair:
        await pair.transport.publish([Envelope("a", QUEUE, b"", is_fresh=True)])
        await pair.consumer()


async def call_tasks(broker: Broker) -> None:
    """Let tasks with all that a task may need run, with a worker that renews its lease meanwhile."""
    has_ticked = asyncio.Event()

    @broker.task
    async def nap() -> str:
        await asyncio.sleep(0.4)  # past a renewal of the lease, each third of it
        return "rested"

    @broker.task(
        rate_limit=RateLimit(1, per=0.2),
        concurrency=ConcurrencyLimit(1),
        unique=Unique(),
        group=lambda number: f"{number}",
    )
    async def take_turns(number: int) -> int:
        return number

    @broker.task(schedule=Every(1))
    async def tick() -> None:
        has_ticked.set()

    async with working(broker, lease=0.6, scheduler=True), asyncio.timeout(10):
        resting = await nap.kiq()
        handles = [await take_turns.kiq(number) for number in range(3)]
        async with broker.concurrency_limit("others", 1).acquire():
            assert await asyncio.gather(*handles) == [0, 1, 2]
        assert await resting == "rested"
        await has_ticked.wait()
