"""Leases: what is dead is taken over in time, what lives is left alone."""

import asyncio
from signal import SIGCONT, SIGKILL, SIGSTOP
from time import monotonic

import pytest
from redis.asyncio import Redis

from tests.cli.programs import StartProgram
from tests.promises.conftest import Publisher, started
from tests.promises.effects import Effects
from tests.servers import RedisServer
from tests.waiting import wait_until


async def test_taken_over_in_time(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """What a killed worker ran begins elsewhere within its lease and two seconds."""
    worker = await started(asyncq, "--lease", "2")
    await publisher.wait.kiq("a", 60)
    await wait_until(lambda: bool(effects.begun("a")), "the task runs")
    await started(asyncq, "--lease", "2")
    await asyncio.sleep(2.5)  # a reclaimer judges only once it has been connected for a full lease
    worker.signal(SIGKILL)
    killed_at = monotonic()
    await wait_until(lambda: len(effects.begun("a")) == 2, "the task runs elsewhere")
    assert monotonic() - killed_at < 2 + 2
    assert effects.begun("a")[0] == worker.pid


async def test_long_tasks_run_once(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A task of four leases runs once beside a competing worker, also when it blocks the loop for two."""
    await started(asyncq, "--lease", "1", "--concurrency", "1")
    await started(asyncq, "--lease", "1", "--concurrency", "1")
    waiting = await publisher.wait.kiq("waiting", 4)
    await waiting
    blocking = [await publisher.block.kiq(how, how, 2.2) for how in ("python", "sleep")]
    await asyncio.gather(*blocking)
    assert effects.runs() == {"waiting": 1, "python": 1, "sleep": 1}
    assert [len(effects.begun(name)) for name in ("waiting", "python", "sleep")] == [1, 1, 1]


async def test_a_frozen_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A worker that was frozen past its lease does not settle what others run now; it goes on under another name."""
    frozen = await started(asyncq, "--lease", "1")
    handle = await publisher.wait.kiq("a", 1.5)
    await wait_until(lambda: effects.begun("a") == [frozen.pid], "the task runs")
    frozen.signal(SIGSTOP)
    other = await started(asyncq, "--lease", "1")
    await wait_until(lambda: len(effects.begun("a")) == 2, "the task runs elsewhere")
    frozen.signal(SIGCONT)
    assert await handle == other.pid
    await frozen.says("lost its lease")
    other.signal(SIGKILL)
    assert await (await publisher.wait.kiq("b", 0)) == frozen.pid, "it works again"
    assert (await handle.result()).value == other.pid, "and has changed nothing"


@pytest.mark.parametrize("kind", ["redis"])
async def test_an_outage(publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer) -> None:
    """Tasks that run while the server is away for three leases go on, run once, and settle when it is back."""
    workers = [await started(asyncq, "--lease", "1") for _ in range(3)]
    handles = [await publisher.wait.kiq(f"task-{number}", 2) for number in range(30)]
    await wait_until(lambda: all(effects.begun(f"task-{number}") for number in range(30)), "all of them run")
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(3.2)  # the outage itself
    await asyncio.to_thread(server.restart)
    async with asyncio.timeout(30):
        values = await asyncio.gather(*handles)
    assert set(values) <= {worker.pid for worker in workers}
    assert set(effects.runs().values()) == {1}


@pytest.mark.parametrize("kind", ["redis"])
async def test_ten_thousand_waiters(publisher: Publisher, asyncq: StartProgram, server: RedisServer) -> None:
    """However many wait in a process, its connections stay the same, and each is told its own result."""
    async with Redis.from_url(server.url) as redis:
        first = await publisher.work.kiq(1)
        waiting = [asyncio.create_task(_value(publisher, first.id))]
        await wait_until(lambda: publisher.broker.reply_address() != "", "the process listens")
        before = len(await redis.client_list())
        handles = await publisher.publish(10_000)
        waiting += [asyncio.create_task(_value(publisher, handle.id)) for handle in handles]
        await asyncio.sleep(0)
        assert len(await redis.client_list()) == before
        await started(asyncq, "--concurrency", "1000")
        async with asyncio.timeout(30):
            assert await asyncio.gather(*waiting) == [2, *(2 * number for number in range(10_000))]


async def _value(publisher: Publisher, id: str) -> int:
    return await publisher.work.handle(id)
