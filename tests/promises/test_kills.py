"""Nothing is lost when processes or servers are killed in the middle of 5,000 tasks."""

import asyncio
import os
from collections.abc import Collection
from signal import SIGKILL

import pytest

from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.pair import Server
from tests.promises.publisher import Publisher, started, stopped

TASKS = 5_000
PART = 1_000
SLOTS = 50

OPTIONS = ("--lease", "1", "--concurrency", str(SLOTS))


def check_runs(effects: Effects, *, killed: Collection[int] = ()) -> None:
    """Check that every task ran, and that none ran again but those that killed processes had in their slots."""
    runs = effects.runs()
    assert len(runs) == TASKS
    repeated = {name: pids for name, pids in runs.items() if len(pids) > 1}
    assert {pid for pids in repeated.values() for pid in pids[:-1]} <= set(killed)
    assert sum(len(pids) - 1 for pids in repeated.values()) <= SLOTS * len(killed)


async def test_the_only_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """The only worker is killed; one that is started later runs the rest, and every waiter gets its result."""
    async with publisher.all_told(TASKS):
        worker = await started(asyncq, *OPTIONS)
        await effects.midway(PART, TASKS)
        worker.signal(SIGKILL)
        other = await started(asyncq, *OPTIONS)
    check_runs(effects, killed=[worker.pid])
    await stopped(other)
    await assert_drained(publisher, url)


async def test_one_of_two_workers(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """One of two workers is killed; the other runs what it held."""
    async with publisher.all_told(TASKS):
        async with asyncio.TaskGroup() as group:
            one, other = [group.create_task(started(asyncq, *OPTIONS)) for _ in range(2)]
        await effects.midway(PART, TASKS)
        one.result().signal(SIGKILL)
    check_runs(effects, killed=[one.result().pid])
    await stopped(other.result())
    await assert_drained(publisher, url)


async def test_a_child_of_a_supervisor(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A supervisor's child is killed; what it held runs at once, though its lease is long."""
    async with publisher.all_told(TASKS):
        supervisor = await started(asyncq, "--processes", "2", "--lease", "120", "--concurrency", str(SLOTS))
        await effects.midway(PART, TASKS)
        child = effects.runs_of(effects.names()[-1])[-1]
        os.kill(child, SIGKILL)
    check_runs(effects, killed=[child])
    await stopped(supervisor)
    await assert_drained(publisher, url)


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
async def test_the_server(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Server, url: str
) -> None:
    """The server is killed and comes back with its data: workers and waiters go on, and nothing runs twice."""
    async with publisher.all_told(TASKS):
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(started(asyncq, *OPTIONS)) for _ in range(2)]
        await effects.midway(PART, TASKS)
        await asyncio.to_thread(server.restart)
    check_runs(effects)
    await stopped(*(worker.result() for worker in workers))
    await assert_drained(publisher, url)
