"""Tasks that block the event loop, and code that keeps the interpreter's lock."""

from signal import SIGCONT

from asyncq import Status, TaskFailed
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.freezing import freeze
from tests.promises.publisher import Publisher, started, stopped
from tests.waiting import wait_until


async def test_past_the_longest_block(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A loop that is blocked past --max-block ends its process, which says where; it is a crash of what ran there."""
    stuck, beside = await publisher.stick.kiq("stuck"), await publisher.hold.kiq("beside")
    worker = await started(asyncq, "--lease", "1", "--max-block", "1.5")
    assert await worker.exits() == 70
    assert "The loop was blocked for" in worker.output
    assert ", in stick" in worker.output, "the stack"
    other = await started(asyncq, "--lease", "1", "--max-block", "1.5")
    result = await stuck.result(timeout=10)
    assert isinstance(result.error, TaskFailed)
    assert (result.status, result.error.type_name, result.attempts) == (Status.FAILED, "Poison", 0)
    effects.let_go_on("beside")
    assert await beside == other.pid
    assert effects.runs_of("stuck") == [worker.pid]
    await stopped(other)


async def test_past_the_longest_block_and_the_lease(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str
) -> None:
    """A process whose loop is blocked ends also when it is no member any more, which its loop cannot hear."""
    await publisher.stick.kiq("stuck")
    worker = await started(asyncq, "--lease", "1", "--max-block", "3")
    await wait_until(lambda: effects.runs_of("stuck") == [worker.pid], "the task runs")
    await freeze(worker, url)
    other = await started(asyncq, "--lease", "1", "--max-block", "3")
    await other.says("its lease ran out")
    worker.signal(SIGCONT)
    assert await worker.exits() == 70
    await stopped(other)


async def test_the_interpreters_lock(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """Code that keeps the interpreter's lock past the lease is taken over beside others, and goes on alone."""
    alone = await publisher.block.kiq("alone", "lock", 1.5)
    one = await started(asyncq, "--lease", "1")
    assert (await alone.result(timeout=10)).value == one.pid
    assert effects.runs_of("alone") == [one.pid]

    beside = await publisher.block.kiq("beside", "lock", 3.5)
    await wait_until(lambda: effects.runs_of("beside") == [one.pid], "the task runs")
    effects.let_go_on("beside")  # whoever runs it next does not block
    other = await started(asyncq, "--lease", "1")
    assert (await beside.result(timeout=10)).value == other.pid
    await one.says("lost its lease")
    assert (await publisher.broker.handle(beside.id).result()).value == other.pid
    assert effects.runs_of("beside") == [one.pid, other.pid]
    await stopped(one, other)
