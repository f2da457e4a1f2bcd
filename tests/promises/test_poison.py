"""One call that kills whoever runs it, among innocent ones."""

from signal import SIGKILL

import pytest

from asyncq import Status, TaskFailed
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped

INNOCENTS = [f"innocent-{number}" for number in range(19)]


async def test_poison_among_innocents(publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str) -> None:
    """Of 20 tasks in one process one kills it: after three deaths it is a dead letter, and 19 have results."""
    handles = [await publisher.wait.kiq(name, 0.05) for name in INNOCENTS[:10]]
    poison = await publisher.poison.kiq("poison")
    handles += [await publisher.wait.kiq(name, 0.05) for name in INNOCENTS[10:]]

    for deaths in range(3):
        worker = await started(asyncq, "--lease", "1")
        assert await worker.exits(timeout=30) == 9, f"death {deaths + 1}"
    last = await started(asyncq, "--lease", "1")

    result = await poison.result(timeout=20)
    assert result.status is Status.FAILED
    assert isinstance(result.error, TaskFailed)
    assert result.error.type_name == "Poison"
    assert len(await results_of(handles)) == 19
    assert len(effects.runs_of("poison")) == 3
    letters = await (await publisher.broker.open()).transport.dead_letters("default")
    assert [letter.id for letter in letters] == [poison.id]
    await stopped(last)


async def test_a_supervisor_quarantines_by_itself(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """Under a supervisor the same happens with nobody at hand: it restarts what dies, and releases what it held."""
    handles = [await publisher.wait.kiq(name, 0.05) for name in INNOCENTS]
    poison = await publisher.poison.kiq("poison")
    supervisor = await started(asyncq, "--processes", "2", "--lease", "3")
    assert (await poison.result(timeout=30)).status is Status.FAILED
    assert len(await results_of(handles)) == 19
    assert len(effects.runs_of("poison")) == 3
    await stopped(supervisor)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "rabbitmq", "rabbitmq alone"])
async def test_killed_workers_make_no_poison(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str
) -> None:
    """Workers that are killed twice, whatever they run, put no innocent call aside."""
    handles = [await publisher.wait.kiq(name, 0.2) for name in INNOCENTS]
    for deaths in range(2):
        worker = await started(asyncq, "--lease", "1")
        await effects.wait_for_more(f"a run before death {deaths + 1}")
        worker.signal(SIGKILL)
        await worker.exits()
    last = await started(asyncq, "--lease", "1")
    assert len(await results_of(handles)) == 19
    await stopped(last)
    await assert_drained(publisher, url)
