"""Lanes in memory: how long a low priority waits, and what many groups cost."""

import time
from collections.abc import AsyncIterator

import pytest

from asyncq.memory.entry import Entry
from asyncq.memory.lanes import Lanes
from asyncq.terms import PRIORITY_STEP_MS, Terms
from asyncq.testing.conformance.stage import LIMITS, QUEUE, Stage
from asyncq.transport import Envelope
from tests.conformance.backends import MovedMemory

OF_A = Terms(group="a")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage on a clock that is moved."""
    stage = Stage(MovedMemory())
    yield stage
    await stage.close()


async def test_a_low_priority_waits_a_minute_for_each_step(stage: Stage) -> None:
    """In a group what has waited a minute longer goes before what has one step more of priority, and not sooner."""
    process = await stage.process()
    await process.publish(Envelope("early", QUEUE, b"", 0, terms=OF_A))
    await stage.backend.pass_time(3 * PRIORITY_STEP_MS / 1000 - 5)
    await process.publish(Envelope("late", QUEUE, b"", 0, terms=OF_A))
    await stage.backend.pass_time(10)
    await process.publish(Envelope("urgent", QUEUE, b"", 3, terms=OF_A))
    assert await stage.fetch_ids(await process.consumer(), 3, LIMITS) == ["early", "urgent", "late"]


async def test_without_a_group_priorities_are_strict(stage: Stage) -> None:
    """However long it has waited, what has no group goes after what is more urgent."""
    process = await stage.process()
    await process.publish(Envelope("early", QUEUE, b"", 0))
    await stage.backend.pass_time(3_600)
    await process.publish(Envelope("urgent", QUEUE, b"", 1), Envelope("other", QUEUE, b"", terms=OF_A))
    found = await stage.fetch_ids(await process.consumer(), 3, LIMITS)
    assert [id for id in found if id != "other"] == ["urgent", "early"]


def test_many_groups_cost_no_more_than_few() -> None:
    """A turn of one of 100,000 groups takes no longer than a few turns of one of ten."""

    def seconds(groups: int) -> float:
        lanes = Lanes()
        for number in range(100_000):
            lanes.add(Entry(str(number), QUEUE, b"", 0, serial=number, terms=Terms(group=str(number % groups))))
        begin = time.perf_counter()
        while lanes.pop() is not None:
            pass
        return time.perf_counter() - begin

    assert seconds(100_000) < 20 * seconds(10)
