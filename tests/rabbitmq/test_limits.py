"""Limits on RabbitMQ with a store: what they cost it, and what the copies of parked calls do."""

import asyncio
import time
from collections.abc import Mapping

import pytest
from redis.asyncio import Redis

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.rabbitmq import loans
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, OTHER_QUEUE, QUEUE, Process, Stage, finish
from asyncq.transport import Envelope
from tests.conformance import backends
from tests.rabbitmq.backend import RememberingRabbitMQ
from tests.redis.test_costs import cost_of
from tests.servers import RedisServer

ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")
SOON = 1.0
"""Seconds in which somebody who waits has been called."""

SLOT, TURN = Terms(slots=(SlotTerm("room"),)), Terms(rates=(RateTerm("api"),))


@pytest.fixture
def backend(rabbitmq_url: str, memory: RedisServer) -> Backend:
    """RabbitMQ with a store of the test's own."""
    return RememberingRabbitMQ(rabbitmq_url, backends.Redis(memory.url))


def envelopes(count: int, terms: Terms | None, name: str = "") -> list[Envelope]:
    """Return so many calls."""
    return [Envelope(f"{name}{n:05}", QUEUE, b"", is_fresh=True, terms=terms) for n in range(count)]


async def test_thousands_wait_in_order_and_cost_nothing(stage: Stage, process: Process, memory: RedisServer) -> None:
    """While one call holds the only slot, 2,000 others wait without a command to the store, and then start in order."""
    await process.transport.limits().declare({ROOM: Numbers(1)})
    count = 2_000
    await process.publish(*envelopes(count, SLOT))
    consumer = await process.consumer()
    [held] = await stage.fetch(consumer, 1)

    async def are_parked() -> bool:
        return (await process.counts()).waiting == count - 1

    waiting = stage.start(consumer.fetch(LIMITS, 100))
    await stage.until(are_parked, "all to be parked")

    async def idle() -> None:
        await asyncio.sleep(0.5)

    async with Redis.from_url(memory.url) as redis:
        assert await cost_of(redis, idle, besides=("info",)) == 0
    assert not waiting.done()
    for n in range(1, 100):
        await finish(consumer, [held])
        [held] = await stage.outcome(waiting, "the next one")
        assert held.id == f"{n:05}"
        waiting = stage.start(consumer.fetch(LIMITS, 100))


async def test_what_those_without_limits_pay(stage: Stage, process: Process, memory: RedisServer) -> None:
    """Beside limits that others need, a call costs as much as where nobody has ever heard of one."""
    consumer = await process.consumer()

    async def run(name: str) -> None:
        await process.publish(*envelopes(100, None, name))
        await finish(consumer, await stage.fetch(consumer, 100))

    async with Redis.from_url(memory.url) as redis:
        await run("first")
        before = await cost_of(redis, lambda: run("before"), besides=("info", "time"))
        await process.transport.limits().declare({API: Numbers(1, 60_000)})
        await process.publish(*envelopes(2, TURN, "limited"))
        assert len(await stage.fetch(consumer, 1)) == 1
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert (await process.counts()).waiting == 1
        after = await cost_of(redis, lambda: run("after"), besides=("info", "time"))
    assert after <= before + 60, (before, after)  # a few for each script, none for each call


async def test_a_copy_that_comes_again(stage: Stage, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that comes back while its call waits goes round for longer; one whose call has ended is gone."""
    monkeypatch.setattr(loans, "PARKED_ROUND_MS", 50)
    await process.transport.limits().declare({ROOM: Numbers(1)})
    await process.publish(*envelopes(2, SLOT))
    consumer = await process.consumer()
    [first] = await stage.fetch(consumer, 1)
    fetching = stage.start(stage.fetch_ids(consumer, 1))
    await stage.backend.pass_time(1)
    assert not fetching.done()
    assert (await process.counts()).waiting == 1
    await finish(consumer, [first])
    assert await stage.outcome(fetching, "the second") == ["00001"]
    assert (await process.counts()).waiting == 0


async def test_who_has_no_time_lets_others_know(stage: Stage, process: Process, memory: RedisServer) -> None:
    """Who waits for a slot is called when it is free, also if another was called before who has no time for it."""
    office = process.transport.limits()
    await office.declare({ROOM: Numbers(1)})
    assert (await office.ask(ROOM, "", 1, "holder", 60_000)).is_granted

    async def waiting(limits: Mapping[str, int], others: int) -> asyncio.Task[list[str]]:
        """Return the fetch of a consumer that waits to be called, behind so many."""
        consumer = await (await stage.process()).consumer()

        async def ids() -> list[str]:
            return [delivery.id for delivery in await consumer.fetch(limits, 1)]

        fetching = stage.start(ids())

        async def is_waiting() -> bool:
            commands = [client["cmd"] for client in await redis.client_list()]
            return commands.count("blpop") > others

        await stage.until(is_waiting, "it waits")
        return fetching

    async with Redis.from_url(memory.url) as redis:
        full = await waiting({QUEUE: 0, OTHER_QUEUE: 1}, 0)
        free = await waiting(LIMITS, 1)
        await process.publish(*envelopes(1, SLOT))

        async def is_parked() -> bool:
            return (await process.counts()).waiting == 1

        await stage.until(is_parked, "it to be parked")
        since = time.monotonic()
        assert await office.leave(ROOM, "", "holder")
        assert await stage.outcome(free, "the call") == ["00000"]
        assert time.monotonic() - since < SOON
        assert not full.done()
