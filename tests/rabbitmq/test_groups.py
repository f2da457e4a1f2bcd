"""Groups on RabbitMQ with a store: how calls come to their lanes, what others pay, and what their copies do."""

import asyncio
from typing import cast

import pytest
from redis.asyncio import Redis

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.rabbitmq import loans, sorting
from asyncq.rabbitmq.lending import LedgerConsumer
from asyncq.terms import SlotTerm, Terms
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, OTHER_QUEUE, QUEUE, Process, Stage, finish
from asyncq.transport import Envelope
from tests.conformance import backends
from tests.rabbitmq.backend import RememberingRabbitMQ
from tests.redis.test_costs import cost_of
from tests.servers import RedisServer


@pytest.fixture
def backend(rabbitmq_url: str, memory: RedisServer) -> Backend:
    """RabbitMQ with a store of the test's own."""
    return RememberingRabbitMQ(rabbitmq_url, backends.Redis(memory.url))


def envelopes(name: str, count: int, group: str = "", queue: str = QUEUE) -> list[Envelope]:
    """Return so many calls, of a group or (empty) of none."""
    terms = Terms(group=group) if group else None
    return [Envelope(f"{name}{n:04}", queue, b"", is_fresh=True, terms=terms) for n in range(count)]


async def are_parked(stage: Stage, process: Process, count: int) -> None:
    """Wait until so many calls are."""

    async def probe() -> bool:
        return (await process.counts()).waiting == count

    await stage.until(probe, f"{count} calls to be parked")


async def test_what_fits_is_not_parked(stage: Stage, process: Process) -> None:
    """While there are slots for all that comes, calls of groups are lent as they come."""
    consumer = await process.consumer()
    for turn in range(3):
        await process.publish(*envelopes(f"a{turn}-", 5, "a"), *envelopes(f"b{turn}-", 5, "b"))
        deliveries = await stage.fetch(consumer, 10)
        assert (await process.counts()).waiting == 0
        await finish(consumer, deliveries)


async def test_what_nobody_fetches_is_brought_to_its_lanes(stage: Stage, process: Process) -> None:
    """While a consumer is busy and asks for nothing, all that waits in RabbitMQ goes to the store, in its turn."""
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 3_000, "a"), *envelopes("plain", 2), *envelopes("b", 2, "b"))
    [held] = await stage.fetch(consumer, 1)
    await are_parked(stage, process, 3_003)
    found = await stage.fetch(consumer, 6)
    others = sorted(delivery.id for delivery in found if delivery.id[0] != "a")
    assert others == ["b0000", "b0001", "plain0000", "plain0001"]
    await finish(consumer, [held, *found])


async def test_an_idle_consumer_is_called(stage: Stage, process: Process) -> None:
    """What one consumer has no time for is lent to another, which waits, at once."""
    busy = await process.consumer()
    await process.publish(*envelopes("a", 1, "a"))
    await stage.fetch(busy, 1)
    await process.publish(*envelopes("b", 40, "b"))
    await are_parked(stage, process, 40)
    other = await (await stage.process()).consumer()
    assert len(await stage.fetch(other, 40)) == 40


async def test_other_queues_have_their_share(stage: Stage, process: Process) -> None:
    """However many wait in lanes, what comes from a queue without groups is lent among them."""
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 200, "a"))
    held = await stage.fetch(consumer, 1)
    await are_parked(stage, process, 199)
    await process.publish(*envelopes("other", 5, queue=OTHER_QUEUE))
    await finish(consumer, await consumer.fetch({QUEUE: 10, OTHER_QUEUE: 10}, 10))  # which lets the others come

    async def have_come() -> bool:
        intake = cast(LedgerConsumer, consumer).intake(OTHER_QUEUE)
        return intake is not None and intake.arrivals == 5

    await stage.until(have_come, "the others to come")
    found: list[str] = []
    while "other0004" not in found:
        deliveries = list(await consumer.fetch({QUEUE: 10, OTHER_QUEUE: 10}, 2))
        found += [delivery.id for delivery in deliveries]
        await finish(consumer, deliveries)
        assert len(found) < 20
    await finish(consumer, held)


async def test_what_those_without_groups_pay(stage: Stage, process: Process, memory: RedisServer) -> None:
    """In another queue, a call costs as much as where nobody has ever heard of a group."""
    consumer = await process.consumer()

    async def run(name: str) -> None:
        await process.publish(*envelopes(name, 100, queue=OTHER_QUEUE))
        await finish(consumer, await stage.fetch(consumer, 100, {OTHER_QUEUE: 100}))

    async with Redis.from_url(memory.url) as redis:
        await run("first")
        before = await cost_of(redis, lambda: run("before"), besides=("info", "time"))
        await process.publish(*envelopes("a", 20, "a"))
        assert len(await stage.fetch(consumer, 1)) == 1
        await are_parked(stage, process, 19)
        await stage.fetch(consumer, 19)
        after = await cost_of(redis, lambda: run("after"), besides=("info", "time"))
    assert after <= before + 30, (before, after)  # a few for each script, none for each call


async def test_a_copy_that_comes_again(stage: Stage, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that comes back while its call waits in its lane goes round again; each call is lent once."""
    monkeypatch.setattr(loans, "PARKED_ROUND_MS", 50)
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 30, "a"))
    held = await stage.fetch(consumer, 1)
    await are_parked(stage, process, 29)
    await stage.backend.pass_time(1)
    assert (await process.counts()).waiting == 29
    found = await stage.fetch_ids(consumer, 29)
    assert sorted([held[0].id, *found]) == [f"a{n:04}" for n in range(30)]
    await stage.backend.pass_time(1)
    assert not await consumer.fetch(LIMITS, 9, wait=False)


async def test_a_store_that_is_emptied(
    stage: Stage, process: Process, memory: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood in lanes of a store that has lost everything comes again out of RabbitMQ."""
    monkeypatch.setattr(loans, "PARKED_ROUND_MS", 500)
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 10, "a"))
    await stage.fetch(consumer, 1)
    await are_parked(stage, process, 9)
    await asyncio.sleep(0.2)  # their copies are in the ladder
    async with Redis.from_url(memory.url) as redis:
        await redis.flushall()
    found: set[str] = set()
    other = await (await stage.process()).consumer()
    while len(found) < 9:
        found |= set(await stage.fetch_ids(other, 1))
    assert found >= {f"a{n:04}" for n in range(1, 10)}


async def test_a_queue_without_groups_again(stage: Stage, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue from which no call of a group comes any more is left alone: calls wait in RabbitMQ, not in the store."""
    monkeypatch.setattr(sorting, "REMEMBERED", 0.3)
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 3, "a"))
    await finish(consumer, await stage.fetch(consumer, 3))
    await stage.backend.pass_time(0.5)
    await process.publish(*envelopes("first", 1))
    held = await stage.fetch(consumer, 1)
    await process.publish(*envelopes("plain", 300))
    await stage.backend.pass_time(0.5)
    assert (await process.counts()).waiting == 0
    assert len(await stage.fetch(consumer, 300)) == 300
    await finish(consumer, held)


async def test_a_group_beside_a_limit(stage: Stage, process: Process) -> None:
    """Calls of groups that need a slot come from their lanes to the line of the limit, and go round there, too."""
    room = LimitId(Kind.SLOTS, "room")
    await process.transport.limits().declare({room: Numbers(1)})
    consumer = await process.consumer()
    for group, count in (("a", 50), ("b", 2)):
        terms = Terms(slots=(SlotTerm("room"),), group=group)
        await process.publish(*(each._replace(terms=terms) for each in envelopes(group, count, group)))
    found: list[str] = []
    deliveries = await stage.fetch(consumer, 1)
    await are_parked(stage, process, 51)
    for _ in range(6):
        await finish(consumer, deliveries)
        deliveries = await stage.fetch(consumer, 1)
        found += [delivery.id for delivery in deliveries]
    assert {"b0000", "b0001"} <= set(found)


async def test_a_queue_for_which_there_is_no_time(stage: Stage, process: Process) -> None:
    """While a consumer waits for other queues alone, what comes from one with groups goes to its lanes all the same."""
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 1, "a"))
    held = await stage.fetch(consumer, 1)
    fetching = stage.start(consumer.fetch({QUEUE: 0, OTHER_QUEUE: 5}, 5))
    await process.publish(*envelopes("b", 600, "b"), *envelopes("c", 1, "c"))
    await are_parked(stage, process, 601)
    await process.publish(*envelopes("other", 1, queue=OTHER_QUEUE))
    found = await stage.outcome(fetching, "what it waits for")
    assert [delivery.id for delivery in found] == ["other0000"]
    await finish(consumer, [*held, *found])
