"""One call that kills whoever runs it, among innocent ones."""

import asyncio
from signal import SIGKILL
from uuid import uuid4

import pytest

from asyncq import Status, TaskFailed
from asyncq.transport import SUSPECT_CRASHES
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


async def test_a_suspect_that_kills_is_the_only_one_to_have_died(
    publisher: Publisher, effects: Effects, asyncq: StartProgram
) -> None:
    """Of 20 suspects one kills its process: neither what has ended there a moment before nor what waits is poison."""
    handles = [await publisher.wait.kiq(name, 0) for name in INNOCENTS[:10]]
    poison = await publisher.poison.kiq("poison")
    handles += [await publisher.wait.kiq(name, 0) for name in INNOCENTS[10:]]
    for _ in range(SUSPECT_CRASHES):
        await _die_with(publisher, 20)
    killed = await started(asyncq, "--lease", "1")
    assert await killed.exits(timeout=30) == 9
    last = await started(asyncq, "--lease", "1")
    assert (await poison.result(timeout=20)).status is Status.FAILED
    assert len(await results_of(handles)) == 19
    assert len(effects.runs_of("poison")) == 1
    await stopped(last)


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


async def _die_with(publisher: Publisher, count: int) -> None:
    """Let a consumer die with so many calls."""
    transport = (await publisher.broker.open()).transport
    consumer = await transport.consumer(f"died-{uuid4()}", ["default"], lease=60)
    upkeep = asyncio.create_task(consumer.run(lambda _: None))
    fetched = 0
    while fetched < count:
        fetched += len(await consumer.fetch({"default": count}, count, suspects=count))
    assert await transport.release([consumer.name]) == count
    upkeep.cancel()
    await asyncio.wait([upkeep])
    await consumer.leave()
