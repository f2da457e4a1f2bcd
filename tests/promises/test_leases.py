"""Leases: what is dead is taken over in time, what lives is left alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGCONT, SIGKILL, SIGSTOP
from time import monotonic

import pytest
from redis.asyncio import Redis

from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.freezing import freeze
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.servers import RedisServer, free_port
from tests.waiting import wait_until


async def test_taken_over_in_time(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """What a killed worker ran begins elsewhere within its lease and two seconds, all of it, with no attempt used."""
    handles = [await publisher.hold.kiq(name) for name in "abc"]
    worker = await started(asyncq, "--lease", "2")
    await wait_until(lambda: effects.count() == 3, "the tasks run")
    other = await started(asyncq, "--lease", "2")

    worker.signal(SIGKILL)
    killed_at = monotonic()
    await wait_until(lambda: effects.count() == 6, "the tasks run elsewhere")
    assert monotonic() - killed_at < 2 + 2

    effects.let_go_on(*"abc")
    for handle in handles:
        result = await handle.result(timeout=5)
        assert (result.value, result.attempts) == (other.pid, 1)
    assert effects.runs() == {name: [worker.pid, other.pid] for name in "abc"}


async def test_long_tasks_run_once(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A task of four leases runs once beside an idle worker, while others block its loop for two leases each."""
    handles = [await publisher.wait.kiq("waiting", 4)]
    handles += [await publisher.block.kiq(how, how, 2.2) for how in ("python", "sleep")]
    worker = await started(asyncq, "--lease", "1")
    await wait_until(lambda: effects.count() > 1, "the loop is blocked")
    await started(asyncq, "--lease", "1")

    assert await results_of(handles) == [worker.pid] * 3

    assert effects.runs() == {name: [worker.pid] for name in ("waiting", "python", "sleep")}


async def test_a_frozen_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A worker that was frozen past its lease cannot settle what others run now, and goes on under another name."""
    frozen = await started(asyncq, "--lease", "1")
    handle = await publisher.block.kiq("a", "python", 2.5)
    await wait_until(lambda: effects.runs_of("a") == [frozen.pid], "the task runs")
    await freeze(frozen, url)
    other = await started(asyncq, "--lease", "1")
    await wait_until(lambda: len(effects.runs_of("a")) == 2, "the task runs elsewhere")

    # Its run ends at once, while the other's goes on. Holding the interpreter lock, it mostly gets to settle before its
    # heartbeat finds out; else it drops what it ran. Neither may take effect.
    frozen.signal(SIGCONT)

    assert await handle == other.pid
    await frozen.says("lost its lease")
    other.signal(SIGKILL)
    result = await (await publisher.wait.kiq("b", 0)).result(timeout=10)
    assert (result.value, result.worker.endswith(".2")) == (frozen.pid, True)
    assert (await publisher.broker.handle(handle.id).result()).value == other.pid, "what it said last has no effect"


async def test_a_zombie_among_fifty(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A worker frozen for three leases in the middle of 50 tasks: each result is that of one run, seen by all alike."""
    names = [f"task-{number}" for number in range(50)]
    handles = [await publisher.wait.kiq(name, 0.5) for name in names]
    early = asyncio.ensure_future(results_of(handles))
    frozen = await started(asyncq, "--lease", "1", "--concurrency", "25")
    await wait_until(lambda: effects.count() == 25, "half of them run")
    await freeze(frozen, url)
    other = await started(asyncq, "--lease", "1", "--concurrency", "25")
    await asyncio.sleep(3)  # the frost itself
    frozen.signal(SIGCONT)

    async with asyncio.timeout(20):
        values = await early
    late = [(await publisher.broker.handle(handle.id).result(timeout=1)).value for handle in handles]
    assert late == values
    assert all(value in effects.runs_of(name) for name, value in zip(names, values, strict=True))
    assert set(values) <= {frozen.pid, other.pid}
    await frozen.says("lost its lease")
    await stopped(frozen, other)
    await assert_drained(publisher, url)


async def test_a_machine_that_sleeps(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """When all workers freeze together for three leases and wake, nobody is taken for dead, and nothing runs twice."""
    names = [f"task-{number}" for number in range(20)]
    handles = [await publisher.hold.kiq(name) for name in names]
    workers = [await started(asyncq, "--lease", "1", "--concurrency", "10") for _ in range(2)]
    await wait_until(lambda: effects.count() == 20, "all of them run")
    for worker in workers:
        worker.signal(SIGSTOP)
    await asyncio.sleep(3)  # the sleep itself
    for worker in workers:
        worker.signal(SIGCONT)
    after = await publisher.wait.options(delay=1.5).kiq("after", 0)  # by then anybody could have been judged
    effects.let_go_on(*names)
    async with asyncio.timeout(10):
        values = await results_of([*handles, after])
    assert effects.runs() == {name: [pid] for name, pid in zip([*names, "after"], values, strict=True)}
    await stopped(*workers)
    await assert_drained(publisher, url)


@pytest.mark.parametrize("kind", ["redis"])
async def test_an_outage_with_hundreds_in_flight(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer
) -> None:
    """Five workers run 100 tasks each while Redis is down for three leases: after its return none has run twice."""
    names = [f"task-{number}" for number in range(500)]
    handles = await publisher.broker.kiq_many(publisher.hold.message(name) for name in names)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(started(asyncq, "--lease", "1", "--concurrency", "100"))
    await wait_until(lambda: effects.count() == 500, "all of them run", timeout=20)

    await asyncio.to_thread(server.kill)
    effects.let_go_on(*names[::2])
    await asyncio.sleep(3)  # the outage itself
    await asyncio.to_thread(server.start)
    effects.let_go_on(*names[1::2])
    async with asyncio.timeout(20):
        values = await results_of(handles)
    assert effects.runs() == {name: [pid] for name, pid in zip(names, values, strict=True)}


@pytest.mark.parametrize("kind", ["redis"])
@pytest.mark.parametrize("how", ["killed", "frozen", "read-only"])
async def test_an_outage(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer, how: str
) -> None:
    """Tasks that run while the server is of no use for three leases go on, run once, and settle when it is back."""
    names = [f"task-{number}" for number in range(30)]
    handles = [await publisher.hold.kiq(name) for name in names]
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(started(asyncq, "--lease", "1", "--concurrency", "20"))
    await wait_until(lambda: effects.count() == 30, "all of them run")

    async with outage(server, how):
        effects.let_go_on(*names[:15])
        await asyncio.sleep(3.2)  # the outage itself
    async with asyncio.timeout(10):
        values = await results_of(handles[:15])
        effects.let_go_on(*names[15:])
        values += await results_of(handles[15:])

    assert effects.runs() == {name: [pid] for name, pid in zip(names, values, strict=True)}


@asynccontextmanager
async def outage(server: RedisServer, how: str) -> AsyncIterator[None]:
    """Kill it, freeze it, or make it the replica of a server that is not there, and let it come back."""
    match how:
        case "killed":
            await asyncio.to_thread(server.kill)
            yield
            await asyncio.to_thread(server.start)
        case "frozen":
            server.pause()
            yield
            server.resume()
        case _:
            async with Redis.from_url(server.url) as redis:
                await redis.replicaof("127.0.0.1", str(free_port()))
                yield
                await redis.replicaof("NO", "ONE")
