"""A server that forgets: what it forgot is told, what it knows is run, and nobody is deaf afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chaos.proxy import Proxy
from tests.chaos.trial import MISSING, Trial, trial
from tests.replication import has_followed, in_step, is_master
from tests.servers import RedisServer, StartRedis
from tests.waiting import wait_until

BATCH = 300
TOLD = 30.0
"""Seconds within which every waiter is told: waiters look again every 10 s."""

STILL_STARTING = 1.0
"""Seconds in which what a worker had fetched before may still start."""


@pytest.fixture
def server(own_redis: StartRedis) -> RedisServer:
    """A Redis that keeps what it confirms."""
    return own_redis(appendonly=True)


@pytest.fixture
def network(server: RedisServer) -> Iterator[Proxy]:
    """The way to it."""
    with Proxy(server.port) as network:
        yield network


@pytest.fixture
async def on_trial(network: Proxy, tmp_path: Path) -> AsyncIterator[Trial]:
    """Workers that run."""
    async with trial(network, tmp_path) as started:
        yield started


@pytest.mark.timeout(120)
async def test_flushed(server: RedisServer, on_trial: Trial) -> None:
    """After each FLUSHALL what was confirmed is gone and its waiters are told so; what comes later runs, once each."""
    async with Redis.from_url(server.url) as redis:
        for number in range(2):
            before = await on_trial.publish(f"before-{number}", BATCH)
            await on_trial.some_have_run(before, BATCH // 4)
            await redis.flushall()
            flushed_at = time.monotonic()
            ended = before.told_already()
            after = await on_trial.publish(f"after-{number}", BATCH)

            told = await after.told(TOLD)
            assert MISSING not in told.values()
            runs = on_trial.runs_of(after)
            assert {id: [run.name for run in runs[id]] for id in runs} == {id: [name] for id, name in told.items()}

            gone = await before.told(TOLD)
            assert MISSING in gone.values()
            assert ended.items() <= gone.items()
            late = [run for runs in on_trial.runs_of(before).values() for run in runs]
            assert max(run.begin for run in late) < flushed_at + STILL_STARTING
            count = sum(end == MISSING for end in gone.values())
            print(f"FLUSHALL {number}: {BATCH} confirmed, {BATCH - count} told before, {count} told that it is gone")
        await wait_until(on_trial.counts_are_zero, "nothing is left")


@pytest.fixture
def replica(own_redis: StartRedis) -> RedisServer:
    """Another Redis."""
    return own_redis()


@pytest.mark.timeout(120)
async def test_failover(server: RedisServer, replica: RedisServer, network: Proxy, on_trial: Trial) -> None:
    """A FAILOVER to a replica loses nothing; who is connected to the old master, read-only now, finds the new one."""
    async with Redis.from_url(server.url) as old, Redis.from_url(replica.url) as new:
        await new.replicaof("127.0.0.1", str(server.port))
        await wait_until(lambda: in_step(old), "the replica is in step")
        batch = await on_trial.publish("before", BATCH)
        await on_trial.some_have_run(batch, BATCH // 4)
        await old.execute_command("FAILOVER", "TO", "127.0.0.1", str(replica.port))
        await wait_until(lambda: is_master(new), "the replica is the master")
        network.redirect(replica.port)
        after = await on_trial.publish("after", BATCH)

        for each in (batch, after):
            told = await each.told(TOLD)
            assert MISSING not in told.values()
            runs = on_trial.runs_of(each)
            assert {id: [run.name for run in runs[id]] for id in runs} == {id: [name] for id, name in told.items()}
        await wait_until(on_trial.counts_are_zero, "nothing is left")


@pytest.mark.timeout(120)
async def test_a_failover_that_loses_the_last_second(
    server: RedisServer, replica: RedisServer, network: Proxy, on_trial: Trial
) -> None:
    """What the replica knew is run, and what it did not know is told to be gone or was told before; nobody hangs."""
    with Proxy(server.port) as between:
        async with Redis.from_url(server.url) as old, Redis.from_url(replica.url) as new:
            await new.replicaof("127.0.0.1", str(between.port))
            await wait_until(lambda: in_step(old), "the replica is in step")
            known = await on_trial.publish("known", BATCH)
            await on_trial.some_have_run(known, BATCH // 4)
            await has_followed(old)
            between.blackhole()
            told_early = known.told_already()
            lost = await on_trial.publish("lost", BATCH)
            await on_trial.some_have_run(lost, BATCH // 4)
            await asyncio.to_thread(server.kill)
            lost_early = lost.told_already()
            await new.replicaof("NO", "ONE")
            network.redirect(replica.port)
            after = await on_trial.publish("after", BATCH)

            for batch in (known, after):
                told = await batch.told(TOLD)
                assert MISSING not in told.values()
                runs = on_trial.runs_of(batch)
                assert all(told[id] in {run.name for run in runs[id]} for id in batch.ids)
            assert told_early.items() <= known.told_already().items()
            gone = await lost.told(TOLD)
            assert lost_early.items() <= gone.items()
            assert MISSING in gone.values()
            runs = on_trial.runs_of(lost)
            assert all(end == MISSING or end in {run.name for run in runs[id]} for id, end in gone.items())
            again = sum(len(runs) - 1 for runs in on_trial.runs_of(known).values())
            print(f"{BATCH} the replica knew: {again} ran again. {BATCH} it did not: {len(lost_early)} told before.")
            await wait_until(on_trial.counts_are_zero, "nothing is left")
