"""The master dies, or another takes over: what is lost is counted, nobody hangs, and everybody finds the new one."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from asyncq import Handle, PublishError, ResultMissing, ResultTimeout, broker_from_url
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, see, started, stopped
from tests.topologies import Masters, Sentinels
from tests.waiting import wait_until

COUNT, PRODUCERS, CONCURRENCY = 2_000, 20, 20
COMMAND_TIMEOUT = 2
RECOVERY_SECONDS = 10
FAILOVER_TIMEOUT = 30


@pytest.fixture
def effects(tmp_path: Path, masters: Masters, namespace: str) -> Effects:
    """The application, and what its tasks write."""
    return Effects(tmp_path, masters.url, namespace)


@pytest.fixture
async def publisher(masters: Masters, namespace: str) -> AsyncIterator[Publisher]:
    """The publisher's side."""
    async with broker_from_url(masters.url, namespace=namespace, command_timeout=COMMAND_TIMEOUT) as broker:
        yield Publisher(broker)


@pytest.mark.timeout(120)
async def test_a_master_that_is_killed_under_load(
    masters: Masters, publisher: Publisher, effects: Effects, asyncq: StartProgram
) -> None:
    """Killed amid 2,000 tasks, the master loses at most what it had not copied; waiters of that are told."""
    worker = await started(asyncq, "--lease", "3", "--concurrency", str(CONCURRENCY))
    outcomes: list[str] = []
    async with asyncio.TaskGroup() as group:
        for number in range(PRODUCERS):
            group.create_task(produce(publisher, range(number, COUNT, PRODUCERS), outcomes))
        await effects.midway(COUNT // 3, COUNT)
        old = masters.master()
        await asyncio.to_thread(old.kill)
        in_hand = effects.count() + CONCURRENCY
        await wait_until(lambda: masters.master() is not old, "another is promoted", timeout=FAILOVER_TIMEOUT)
        promoted = time.monotonic()  # by then the worker may have found it, and even have run all that was left
        await wait_until(
            lambda: effects.count() > in_hand or len(outcomes) == COUNT,
            "the worker runs tasks again",
            timeout=RECOVERY_SECONDS,
        )
        recovery = time.monotonic() - promoted
    lost = COUNT - outcomes.count("a value")
    runs = effects.runs()
    repeated = sum(len(pids) - 1 for pids in runs.values())
    print(f"{COUNT} confirmed, {lost} lost, {repeated} repeated; fetching {recovery:.1f} s after the promotion")
    assert len(outcomes) == COUNT
    assert set(outcomes) <= {"a value", "ResultMissing"}
    assert lost < COUNT / 10, "replication lags by moments, not by seconds"
    await stopped(worker)


async def test_what_was_not_copied_is_missing(tmp_path: Path, namespace: str) -> None:
    """A confirmed call that no replica had is lost with its master: its waiter is told so, and others go on waiting."""
    with Sentinels(tmp_path) as sentinels:
        async with broker_from_url(sentinels.url, namespace=namespace, command_timeout=COMMAND_TIMEOUT) as broker:
            old, *replicas = sentinels.servers
            publisher = Publisher(broker)
            kept = await publisher.work.kiq(1)
            with pytest.raises(ResultTimeout):
                await kept.result(timeout=0.05)  # from now on this process listens
            async with Redis.from_url(old.url) as redis:
                assert await redis.wait(2, 5_000) == 2, "both replicas have it"
                for replica in replicas:
                    replica.pause()
                await redis.execute_command("CLIENT", "KILL", "TYPE", "replica")
                lost = await publisher.work.kiq(2)
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(told_missing(lost))
                old.kill()
                for replica in replicas:
                    replica.resume()
                await wait_until(lambda: sentinels.master() is not old, "another is promoted", timeout=FAILOVER_TIMEOUT)
                async with asyncio.timeout(RECOVERY_SECONDS + 5):
                    await telling
            assert await kept.status() == "queued"


async def told_missing(handle: Handle[int]) -> None:
    """Wait until a waiter is told that nobody knows its call."""
    with pytest.raises(ResultMissing):
        await handle.result(timeout=60)


async def produce(publisher: Publisher, numbers: range, outcomes: list[str]) -> None:
    """Publish tasks one after the other, each until it is confirmed, and wait for all of them."""
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            message = publisher.work.message(number)
            while True:
                started_at = time.monotonic()
                try:
                    [handle] = await publisher.broker.kiq_many([message])
                except PublishError:
                    assert time.monotonic() - started_at < COMMAND_TIMEOUT + 1
                else:
                    break
            group.create_task(see(handle, number, outcomes))
