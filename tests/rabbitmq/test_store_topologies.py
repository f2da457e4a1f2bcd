"""RabbitMQ with a store behind sentinels or in a cluster: whose master may die, or be another one."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from asyncq import (
    At,
    Broker,
    BrokerUnavailable,
    ConfigurationError,
    Handle,
    PublishError,
    RabbitMQBroker,
    RetryPolicy,
    Status,
    Unique,
    broker_from_url,
)
from tests.chaos.proxy import Proxy
from tests.cli.programs import StartProgram, programs
from tests.promises.drained import STAY
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, see, started, stopped
from tests.redis_keys import assert_no_keys_left
from tests.replication import has_followed, in_step
from tests.servers import StartRedis
from tests.topologies import Masters, RedisCluster, Sentinels
from tests.waiting import wait_until
from tests.working import working

COUNT, PRODUCERS, CONCURRENCY = 1_000, 20, 20
FAILOVER_TIMEOUT = 30
RECOVERY_SECONDS = 10


@pytest.fixture(params=["cluster", "seeds", "sentinel"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store: a node of a cluster, all of its nodes, or a service that sentinels watch."""
    if request.param == "sentinel":
        sentinels: Sentinels = request.getfixturevalue("sentinels")
        return sentinels.url
    cluster: RedisCluster = request.getfixturevalue("redis_cluster")
    return cluster.url if request.param == "cluster" else cluster.seeds_url


@pytest.fixture
async def brokers(rabbitmq_url: str, store_url: str, namespace: str) -> AsyncIterator[Sequence[Broker]]:
    """What two processes have: one that publishes, and one that works."""
    here = RabbitMQBroker(rabbitmq_url, store=store_url, namespace=namespace)
    there = broker_from_url(rabbitmq_url, store=store_url, namespace=namespace)
    async with here, there:
        yield here, there


@pytest.mark.usefixtures("redis_cluster", "sentinels", "rabbitmq_server")
async def test_a_journey(brokers: Sequence[Broker]) -> None:
    """Results, retries, cancelling, unique keys, another time and schedules: all of it is as with a single server."""
    runs: list[int] = []

    async def work(number: int) -> int:
        runs.append(number)
        return 2 * number

    async def flaky(number: int) -> int:
        runs.append(number)
        if runs.count(number) == 1:
            raise OSError("not yet")
        return number

    async def fails() -> None:
        raise ValueError("for good")

    here, there = brokers
    for broker in brokers:
        broker.task(name="work")(work)
        broker.task(name="import", unique=Unique())(work)
        broker.task(name="flaky", retry=RetryPolicy(delay=0.05, jitter=False))(flaky)
        broker.task(name="fails", retry=None)(fails)
    tasks = here.tasks
    first, second = await tasks["import"].kiq(1), await tasks["import"].kiq(1)
    assert (second.id, second.is_new) == (first.id, False)
    assert [owner.id for owner in await there.unique_keys()] == [first.id]
    gone = await tasks["work"].options(id="gone").kiq(2)
    assert await there.handle("gone").cancel()
    late = await tasks["work"].options(delay=3_600).kiq(3)
    assert await late.reschedule(delay=0.1)
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    await here.schedules.add(tasks["work"], At(soon, name="once", args=(4,)))
    async with working(there, scheduler=True):
        assert (await first, await second, await late) == (2, 2, 6)
        mine = await tasks["work"].options(id="mine").kiq(5)
        assert (await mine, await there.handle("mine")) == (10, 10)
        assert await (await tasks["flaky"].kiq(6)) == 6
        assert (await (await tasks["fails"].kiq()).result()).status is Status.FAILED
        assert (await gone.result()).status is Status.CANCELLED
        await wait_until(lambda: 4 in runs, "the tick has run")
    assert sorted(runs) == [1, 3, 4, 5, 6, 6]
    assert [letter.task for letter in await here.dead.list()] == ["fails"]
    assert await here.unique_keys() == []


@pytest.fixture
def effects(tmp_path: Path, rabbitmq_url: str, masters: Masters, namespace: str) -> Effects:
    """The application, and what its tasks write."""
    return Effects(tmp_path, rabbitmq_url, namespace, store=masters.url)


@pytest.fixture
async def publisher(rabbitmq_url: str, masters: Masters, namespace: str) -> AsyncIterator[Publisher]:
    """The publisher's side."""
    async with broker_from_url(rabbitmq_url, store=masters.url, namespace=namespace, command_timeout=2) as broker:
        yield Publisher(broker)


async def test_the_stores_master_is_killed_under_load(
    masters: Masters, publisher: Publisher, effects: Effects, asyncq: StartProgram, namespace: str
) -> None:
    """Killed amid 1,000 tasks, half of them under ids of their own, it costs no task: each runs, and nobody hangs."""
    worker = await started(asyncq, "--lease", "3", "--concurrency", str(CONCURRENCY))
    outcomes: list[str] = []
    async with asyncio.TaskGroup() as group:
        for number in range(PRODUCERS):
            group.create_task(produce(publisher, range(number, COUNT, PRODUCERS), outcomes))
        await effects.midway(COUNT // 3, COUNT)
        old = masters.master()
        await asyncio.to_thread(old.kill)
        await wait_until(lambda: masters.master() is not old, "another is promoted", timeout=FAILOVER_TIMEOUT)
        promoted = time.monotonic()
        in_hand = effects.count() + CONCURRENCY
        await wait_until(
            lambda: effects.count() > in_hand or len(outcomes) == COUNT,
            "the worker runs tasks again",
            timeout=RECOVERY_SECONDS,
        )
        recovery = time.monotonic() - promoted
    await wait_until(lambda: len(effects.runs()) == COUNT, "each task has run", timeout=30)
    forgotten = COUNT - outcomes.count("a value")
    repeated = sum(len(pids) - 1 for pids in effects.runs().values())
    print(f"{COUNT} ran, {forgotten} results lost, {repeated} repeated; going on {recovery:.1f} s after the promotion")
    assert set(outcomes) <= {"a value", "ResultMissing"}
    assert forgotten < COUNT / 10, "replication lags by moments, not by seconds"
    [counts] = await (await publisher.broker.open()).transport.counts(["default"])
    assert counts.running == counts.scheduled == 0
    await stopped(worker)
    await publisher.broker.close()
    await assert_no_keys_left(masters.master().url, namespace, allowed=(*STAY, "{{namespace}}:ledger"))


async def test_the_store_loses_its_last_moments(
    rabbitmq_url: str, own_redis: StartRedis, tmp_path: Path, namespace: str
) -> None:
    """What was published before them, and has ended in them, runs again: nobody waits for what has no message."""
    server, replica = own_redis(appendonly=True), own_redis()
    with Proxy(server.port) as network, Proxy(server.port) as between:
        options = {"store": network.url(), "heartbeat": 2}
        effects = Effects(tmp_path, rabbitmq_url, namespace, **options)
        soon = effects.variant("soon", before="from asyncq.rabbitmq import placing\nplacing.LOOK = 0.5\n")
        async with (
            broker_from_url(rabbitmq_url, namespace=namespace, **options) as broker,
            programs(tmp_path) as start,
            Redis.from_url(server.url) as old,
            Redis.from_url(replica.url) as new,
        ):
            await new.replicaof("127.0.0.1", str(between.port))
            await wait_until(lambda: in_step(old), "the replica is in step")
            publisher = Publisher(broker)
            worker = await started(start, *soon, "--lease", "3", "--concurrency", "5")
            held = [await publisher.hold.kiq(f"held-{number}") for number in range(5)]
            handles = await publisher.publish(50)
            await broker.handle(handles[-1].id).status()  # which waits until they are noted
            await effects.wait_for("held-4")
            await has_followed(old)
            between.blackhole()
            effects.let_go_on(*(f"held-{number}" for number in range(5)))
            await wait_until(lambda: len(effects.runs()) == 55, "all have run")
            async with asyncio.timeout(10):
                await asyncio.gather(*held, *handles)
            await asyncio.to_thread(server.kill)
            await new.replicaof("NO", "ONE")
            network.redirect(replica.port)
            again = [broker.handle(handle.id) for handle in handles]
            async with asyncio.timeout(40):
                assert await asyncio.gather(*(asyncio.create_task(until_it_is_back(each)) for each in again)) == [
                    2 * number for number in range(50)
                ]
            assert {len(pids) for name, pids in effects.runs().items() if name.isdigit()} == {2}
            await stopped(worker)
            await broker.close()
            await assert_no_keys_left(replica.url, namespace, allowed=(*STAY, "{{namespace}}:ledger"))


async def until_it_is_back(handle: Handle[int]) -> int:
    """Wait for a call, again while its store is away."""
    while True:
        try:
            return await handle
        except BrokerUnavailable:
            await asyncio.sleep(0.05)  # before the next try


async def produce(publisher: Publisher, numbers: range, outcomes: list[str]) -> None:
    """Publish tasks one after the other, each until it is confirmed, and wait for all of them."""
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            task = publisher.work.options(id=f"order-{number}") if number % 2 else publisher.work
            message = task.message(number)
            while True:
                try:
                    [handle] = await publisher.broker.kiq_many([message])
                except PublishError:
                    await asyncio.sleep(0.05)  # before the next try
                else:
                    break
            group.create_task(see(handle, number, outcomes))


async def test_a_sentinel_is_no_store(rabbitmq_url: str, sentinels: Sentinels) -> None:
    """Who names a sentinel as if it kept the data is told how to name the service, at the start."""
    broker = RabbitMQBroker(rabbitmq_url, store=sentinels.sentinels[0].url)
    with pytest.raises(ConfigurationError, match=r"redis\+sentinel://"):
        await broker.open()
