"""Tasks that run in processes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from asyncq import Broker, ConfigurationError, MemoryBroker, NotSupported, Status, TaskFailed, TaskTimeout, Worker
from asyncq.worker import pool
from asyncq.worker.embedding import embedded_command
from asyncq.worker.poolprocess import PoolCharge
from tests.leftovers import child_processes
from tests.waiting import wait_until
from tests.worker import computing
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """The broker whose tasks run in processes, open."""
    async with computing.broker:
        yield computing.broker


def is_gone(pid: int) -> bool:
    """Tell whether a process runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter while it is being reaped
        return True


async def pids_in(file: Path) -> list[int]:
    """Return what a task has written of itself, once it has."""
    await wait_until(lambda: file.exists() and bool(file.read_text()), "the task runs")
    return [int(pid) for pid in file.read_text().split()]


async def test_a_call(broker: Broker) -> None:
    """A function runs in a process of its own group, which is used again, with no thread but its own."""
    async with working(broker):
        handle = await computing.square.kiq(12)
        assert await handle == 144
        first, group, parent, threads = await (await computing.where.kiq())
        assert (first, parent, threads) == (group, os.getpid(), 1)
        assert (await (await computing.where.kiq()))[0] == first
    assert is_gone(first)


async def test_kinds(broker: Broker) -> None:
    """Arguments and results cross by annotation, as they do everywhere."""
    id = uuid4()
    async with working(broker):
        assert await (await computing.kinds.kiq(id, b"\0\xff")) == (id, b"\0\xff")


async def test_in_parallel(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many processes as the bound allows; calls beyond that wait for one."""
    async with working(broker, pool_processes=2):
        before = child_processes()
        handles = [await computing.where.kiq() for _ in range(10)]
        assert len({(await handle)[0] for handle in handles}) <= 2
        assert len(child_processes() - before) <= 2


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [("never", KeyError, "not here"), ("not on", OSError, "not that"), ("exit", TaskFailed, "SystemExit")],
)
async def test_failures(broker: Broker, how: str, kind: type[Exception], text: str) -> None:
    """What the function raises is raised where it is awaited, with the traceback of the process, after one attempt."""
    async with working(broker):
        result = await (await computing.fail.kiq(how)).result(timeout=10)
    assert result.status is Status.FAILED
    assert result.attempts == 1
    assert isinstance(result.error, kind)
    assert text in str(result.error)
    assert "computing.py" in "".join(result.error.__notes__)


async def test_signals(broker: Broker, tmp_path: Path) -> None:
    """Retry, Snooze and what the policy names run the function again; Reject, also in a group, does not."""
    labels = {"file": str(tmp_path / "snoozed")}
    async with working(broker):
        assert await (await computing.fail.kiq("retry")) == 2
        assert await (await computing.fail.kiq("oddity")) == 2
        assert await (await computing.fail.options(labels=labels).kiq("snooze")) == 1
        rejected = await (await computing.fail.kiq("reject")).result(timeout=10)
    assert (rejected.status, rejected.attempts, str(rejected.error)) == (Status.FAILED, 1, "no good")


async def test_what_cannot_be_kept(broker: Broker) -> None:
    """A result that is too large, or that JSON cannot hold, fails with the same words as in a thread."""
    async with working(broker):
        with pytest.raises(ValueError, match="max_result_size"):
            await (await computing.too_much.kiq())
        with pytest.raises(TypeError, match=r"What strange\(\) returned"):
            await (await computing.strange.kiq())


async def test_the_context(broker: Broker, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The context has message, attempt, labels and log, and its progress reaches who follows the call."""
    labels = {"file": str(tmp_path / "seen")}
    async with working(broker):
        handle = await computing.look.options(labels=labels).kiq()
        async for event in handle.events():
            if event.progress is not None:
                assert event.progress.note == "half"
                (tmp_path / "seen").touch()
        assert await handle == [handle.id, 1, labels, False]
    assert "seen" in capfd.readouterr().err


async def test_publishing_from_a_memory_broker(broker: Broker) -> None:
    """A function in a process cannot publish to a broker in its worker's memory, and is told so."""
    async with working(broker):
        error = (await (await computing.publish.kiq()).result(timeout=10)).error
    assert "in the worker's process only" in str(error)


@pytest.mark.parametrize("how", ["exit", "kill"])
async def test_a_process_that_dies(broker: Broker, how: str) -> None:
    """A process that dies is a crash of its one call, the third of which is the last; others are not concerned."""
    async with working(broker, pool_processes=2):
        poison = await computing.die.kiq(how)
        innocents = [await computing.square.kiq(number) for number in range(20)]
        assert [await handle for handle in innocents] == [number**2 for number in range(20)]
        result = await poison.result(timeout=20)
    assert result.status is Status.FAILED
    assert "3 processes have died" in str(result.error)


async def test_processes_that_die_for_ever(broker: Broker) -> None:
    """A call that may kill as many processes as it likes is not tried again without a pause."""
    async with working(broker):
        handle = await computing.die_on.kiq()

        async def waits() -> bool:
            return await handle.status() is Status.SCHEDULED

        await wait_until(waits, "three processes have died, and the call waits")
        await handle.cancel()


async def test_an_idle_process_that_dies(broker: Broker) -> None:
    """A process that is killed between two calls is replaced, and no call is charged for it."""
    async with working(broker):
        for _ in range(5):
            pid = (await (await computing.where.kiq()))[0]
            os.kill(pid, signal.SIGKILL)
            result = await (await computing.square.kiq(3)).result(timeout=10)
            assert (result.value, result.attempts) == (9, 1)


async def test_a_process_that_dies_while_it_starts(broker: Broker) -> None:
    """A process that is killed before it is ready, or is not there at all, costs its call nothing: it gets another."""
    commands = [["/bin/sh", "-c", "kill -9 $$"], ["/no/such/program"]]

    def command(charge: PoolCharge) -> Sequence[str]:
        return commands.pop() if commands else embedded_command(broker, charge)

    async with working(broker, pool_command=command):
        result = await (await computing.square.kiq(3)).result(timeout=10)
    assert (result.value, result.attempts) == (9, 1)


async def test_timeout(broker: Broker, tmp_path: Path) -> None:
    """When its time is over, the process is killed, and the program that its function has started."""
    file = tmp_path / "pids"
    async with working(broker):
        handle = await computing.too_long.kiq(str(file))
        with pytest.raises(TaskTimeout):
            await handle
        for pid in await pids_in(file):
            await wait_until(lambda pid=pid: is_gone(pid), f"process {pid} is gone", timeout=1)
        assert await (await computing.square.kiq(2)) == 4


async def test_timeout_of_one_that_left_its_group(broker: Broker, tmp_path: Path) -> None:
    """A process whose function has moved it to another group is killed all the same."""
    async with working(broker):
        handle = await computing.leave_group.kiq(str(tmp_path / "pid"))
        with pytest.raises(TaskTimeout):
            await handle
        [pid] = await pids_in(tmp_path / "pid")
        await wait_until(lambda: is_gone(pid), "the process is gone", timeout=1)


async def test_broken_output(broker: Broker) -> None:
    """A function that has run is not run again because what it put in place of stdout cannot be flushed."""
    async with working(broker):
        assert await (await computing.break_output.kiq()) in child_processes()


async def test_a_thread_that_outlives_its_call(broker: Broker, tmp_path: Path) -> None:
    """What such a thread reports does not break the answer, nor pass for a report of the next call."""
    notes: list[str] = []
    async with working(broker, pool_processes=1):
        leaving = await computing.leave_reporter.kiq(str(tmp_path))
        async for event in leaving.events():
            if event.progress is not None:
                break
        (tmp_path / "goes-on").touch()
        time.sleep(0.5)  # noqa: ASYNC251 - so that nobody reads, and the answer is under way for a while
        assert len(await leaving) == 900_000

        handle = await computing.look.options(labels={"file": str(tmp_path / "seen")}).kiq()
        async for event in handle.events():
            if event.progress is not None:
                notes.append(event.progress.note)
                (tmp_path / "seen").touch()
        (tmp_path / "ended").touch()
    assert notes == ["half"]


async def test_the_latest_report(broker: Broker, tmp_path: Path) -> None:
    """A report that comes too soon after another is sent a moment later, not when the function has ended."""
    async with working(broker):
        handle = await computing.report_twice.kiq(str(tmp_path))
        async for event in handle.events():
            if event.progress is not None and event.progress.done == 2:
                (tmp_path / "seen").touch()


async def test_a_report_in_a_fork(broker: Broker) -> None:
    """In a process that a function forks a report counts for nothing, and breaks nothing."""
    async with working(broker):
        assert await (await computing.report_in_a_fork.kiq()) == 5


async def test_cancel(broker: Broker, tmp_path: Path) -> None:
    """A call that is cancelled while it computes has its process killed within a second."""
    file = tmp_path / "pid"
    async with working(broker):
        handle = await computing.compute.kiq(str(file))
        [pid] = await pids_in(file)
        await handle.cancel()
        await wait_until(lambda: is_gone(pid), "the process is gone", timeout=1)
        assert await handle.status() is Status.CANCELLED


async def test_stop(broker: Broker, tmp_path: Path) -> None:
    """A worker that stops kills what does not end in time, hands its call back, and leaves no process."""
    file = tmp_path / "pid"
    before = child_processes()
    async with working(broker, shutdown_timeout=0.05):
        handle = await computing.compute.kiq(str(file))
        [pid] = await pids_in(file)
    assert is_gone(pid)
    assert child_processes() <= before
    assert await handle.status() is Status.QUEUED
    await handle.cancel()


async def test_cancelled_worker(broker: Broker, tmp_path: Path) -> None:
    """A worker whose own task is cancelled leaves no process either."""
    file = tmp_path / "pid"
    running = asyncio.create_task(Worker(broker).run())
    handle = await computing.compute.kiq(str(file))
    [pid] = await pids_in(file)
    running.cancel()
    await asyncio.wait([running])
    assert is_gone(pid)
    await handle.cancel()


async def test_idle_processes_end(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that nobody needs ends after a while, and the next call gets another."""
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)
    async with working(broker):
        pid = (await (await computing.where.kiq()))[0]
        await wait_until(lambda: is_gone(pid), "the idle process has ended")
        assert (await (await computing.where.kiq()))[0] != pid


async def test_recycled_by_count(broker: Broker) -> None:
    """With max_tasks a process of the pool is replaced after so many calls, too."""
    worker = Worker(broker, max_tasks=4, on_spent=lambda: None, pool_processes=1)
    running = asyncio.create_task(worker.run())
    handles = [await computing.where.kiq() for _ in range(8)]
    pids = [(await handle)[0] for handle in handles]
    worker.stop()
    await running
    assert (len(set(pids[:4])), len(set(pids[4:])), len(set(pids))) == (1, 1, 2)


async def test_recycled_by_memory(broker: Broker) -> None:
    """With max_memory a process of the pool that has grown above it is replaced after its call, and ends."""
    async with working(broker, max_memory=300, on_spent=lambda: None, pool_processes=1):
        first = await (await computing.grow.kiq(1))
        assert await (await computing.grow.kiq(300)) == first
        assert await (await computing.grow.kiq(1)) != first
        await wait_until(lambda: is_gone(first), "the large process is gone")


async def test_nothing_is_left(broker: Broker) -> None:
    """After 30 killed processes there are as many file handles as after 3, and no zombie."""
    async with working(broker, pool_processes=2):
        counts: list[int] = []
        for calls in (1, 9):  # each of which kills three
            handles = [await computing.die.kiq("kill") for _ in range(calls)]
            for handle in handles:
                await handle.result(timeout=60)
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts[1] <= counts[0] + 2
        assert all(not Path(f"/proc/{pid}/stat").exists() or not is_gone(pid) for pid in child_processes())


async def test_throughput(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 quick calls go through two processes in a few seconds."""
    loop = asyncio.get_running_loop()
    async with working(broker, pool_processes=2):
        await (await computing.square.kiq(1))
        began = loop.time()
        handles = await broker.kiq_many(computing.square.message(number) for number in range(2_000))
        assert sum([await handle for handle in handles]) == sum(number**2 for number in range(2_000))
        seconds = loop.time() - began
    with capsys.disabled():
        print(f" {2_000 / seconds:,.0f} calls in processes a second", end="")
    assert seconds < 20


def test_refusals() -> None:
    """A coroutine function in a process, and a place that does not exist, are refused where they are written."""
    broker = MemoryBroker()

    async def coroutine() -> None: ...

    def function() -> None: ...

    with pytest.raises(ConfigurationError, match="coroutine function: it runs in the loop"):
        broker.task(runs_in="process")(coroutine)
    with pytest.raises(ConfigurationError, match="'loop', 'thread' or 'process'"):
        broker.task(runs_in="proces")(function)  # pyright: ignore[reportArgumentType] - that is the test
    broker.task(runs_in="process")(function)
    with pytest.raises(ConfigurationError, match="declared inside a function"):
        Worker(broker)


async def test_progress_without_a_memory() -> None:
    """A task that reports progress is told where nobody could see it, at that call."""
    async with computing.forgetful, working(computing.forgetful):
        with pytest.raises(NotSupported, match="progress"):
            await (await computing.reports.kiq())
