"""Nothing is lost, and nobody else is concerned, when processes of a worker's pool die, or their worker does."""

import os
from signal import SIGKILL

import pytest

from asyncq import ConfigurationError, Status
from tests.cli.programs import StartProgram
from tests.cli.test_processes import is_alive
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.waiting import wait_until

pytestmark = pytest.mark.parametrize("kind", ["sqlite", "redis"])


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_poison_among_innocents(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, processes: str
) -> None:
    """A call that ends its process three times is a dead letter; 19 others each ran once and have their results."""
    worker = await started(asyncq, "--processes", processes, "--lease", "600")
    handles = [await publisher.compute.kiq(f"innocent-{number}") for number in range(10)]
    poison = await publisher.compute.kiq("poison", "exit")
    handles += [await publisher.compute.kiq(f"innocent-{number}") for number in range(10, 19)]

    pids = {await handle for handle in handles}
    result = await poison.result(timeout=30)

    assert result.status is Status.FAILED
    assert worker.pid not in pids
    runs = effects.runs()
    assert len(runs.pop("poison")) == 3
    assert sorted(map(len, runs.values())) == [1] * 19
    await stopped(worker)


async def test_killed_in_a_call(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """A process that is killed in a call is replaced at once, and that call alone runs again, with no attempt used."""
    worker = await started(asyncq, "--lease", "600")
    held = await publisher.compute.kiq("a", "hold")
    on_the_loop = await publisher.hold.kiq("b")
    await wait_until(lambda: {"a", "b"} <= set(effects.names()), "both run")

    os.kill(effects.runs_of("a")[0], SIGKILL)
    await wait_until(lambda: len(effects.runs_of("a")) == 2, "it runs again", timeout=3)
    effects.let_go_on("a", "b")

    result = await held.result(timeout=10)
    assert (result.value, result.attempts) == (effects.runs_of("a")[1], 1)
    assert await on_the_loop == worker.pid
    assert len(effects.runs_of("b")) == 1
    await stopped(worker)
    await assert_drained(publisher, url)


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_worker_killed_while_its_pool_computes(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str, processes: str
) -> None:
    """When a worker is killed, its pool is gone within a second, and another worker runs what it computed."""
    worker = await started(asyncq, "--processes", processes, "--lease", "1")
    handle = await publisher.compute.kiq("a", "hold")
    await wait_until(lambda: bool(effects.runs_of("a")), "it runs", timeout=30)
    [pid] = effects.runs_of("a")

    with open(f"/proc/{pid}/stat") as stat:
        os.kill(int(stat.read().rpartition(")")[2].split()[1]), SIGKILL)  # its parent
    await wait_until(lambda: not is_alive(pid), "the process is gone", timeout=1)
    other = worker if processes == "2" else await started(asyncq, "--lease", "1")

    await wait_until(lambda: len(effects.runs_of("a")) == 2, "it runs again", timeout=30)
    effects.let_go_on("a")
    assert await handle == effects.runs_of("a")[1]
    await stopped(other)
    await assert_drained(publisher, url)


async def test_publishing_from_a_process(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A function in a process may publish; to wait there for another task is refused, and says what to do."""
    worker = await started(asyncq)
    assert await (await publisher.call.kiq("a", "")) == 0
    await wait_until(lambda: "a" in effects.names(), "what it published has run")

    with pytest.raises(ConfigurationError, match="cannot wait for another task"):
        await (await publisher.call.kiq("b", "wait"))
    await wait_until(lambda: "b" in effects.names(), "what it published has run")
    await stopped(worker)
