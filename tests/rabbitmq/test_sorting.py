"""The sorting of calls into their lanes, while something is in its way: the store, RabbitMQ, the end of a worker."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.rabbitmq import loans, sorting
from asyncq.rabbitmq.lending import LedgerConsumer
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance import Backend, LedgerBackend
from asyncq.testing.conformance.stage import KEPT, LIMITS, OTHER_QUEUE, QUEUE, Process, Stage, finish
from asyncq.transport import Again, Consumer, Delivery, Done, Envelope, Outcome, Return
from tests.conformance import backends
from tests.rabbitmq.backend import RememberingRabbitMQ
from tests.rabbitmq_servers import RabbitMQServer
from tests.redis.test_costs import cost_of
from tests.servers import RedisServer, StartRedis
from tests.waiting import wait_until

ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")


@pytest.fixture
def memory(own_redis: StartRedis) -> RedisServer:
    """A store of the test's own, which keeps each write."""
    return own_redis(appendonly=True)


@pytest.fixture
def backend(rabbitmq_url: str, memory: RedisServer) -> Backend:
    """RabbitMQ with that store."""
    return RememberingRabbitMQ(rabbitmq_url, backends.Redis(memory.url))


def envelopes(name: str, count: int, group: str = "", terms: Terms | None = None) -> list[Envelope]:
    """Return so many calls, of a group or (empty) of none."""
    terms = terms or (Terms(group=group) if group else None)
    return [Envelope(f"{name}{n:04}", QUEUE, b"", is_fresh=True, terms=terms) for n in range(count)]


async def waiting(process: Process) -> int:
    """Return how many calls stand in lanes."""
    return (await process.counts()).waiting or 0


async def are_brought(stage: Stage, process: Process, least: int) -> None:
    """Wait until so many calls, or more, stand in lanes."""

    async def probe() -> bool:
        return await waiting(process) >= least

    await stage.until(probe, f"{least} calls stand in lanes")


async def stand_in_lanes(redis: Redis, stage: Stage, least: int) -> bool:
    """Tell whether so many calls, or more, do, whatever becomes of RabbitMQ meanwhile."""
    return await redis.hlen(f"{{{stage.namespace}}}:q:{QUEUE}:stands") >= least


async def drained(consumer: Consumer, count: int, *, wait: bool = True) -> list[str]:
    """Fetch and end until so many calls have ended; return them in order."""
    found: list[str] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            deliveries = await consumer.fetch(LIMITS, 20, wait=wait, suspects=20)
            assert deliveries, f"nothing is ready after {len(found)} calls"
            await finish(consumer, deliveries)
            found += [delivery.id for delivery in deliveries]
    return found


def ids(envelopes: Iterable[Envelope]) -> list[str]:
    """Return their ids."""
    return sorted(envelope.id for envelope in envelopes)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
async def test_a_burst_ends_when_nothing_is_left(rabbitmq_url: str, redis_url: str, tmp_path: Path, store: str) -> None:
    """Who fetches what is ready, and does not wait, gets all there is, whatever was brought to lanes meanwhile."""
    memory: LedgerBackend = backends.Redis(redis_url) if store == "redis" else backends.SQLite(tmp_path / "file.db")
    stage = Stage(RememberingRabbitMQ(rabbitmq_url, memory))
    try:
        process = await stage.process()
        published = [*envelopes("a", 700, "a"), *envelopes("plain", 300), *envelopes("b", 20, "b")]
        await process.publish(*published)
        consumer = await process.consumer()
        found = await drained(consumer, len(published), wait=False)
        assert sorted(found) == ids(published)
        assert not await consumer.fetch(LIMITS, 20, wait=False)
    finally:
        await stage.close()


async def test_a_burst_behind_many_that_lack_something(stage: Stage, process: Process) -> None:
    """Who does not wait is lent what stands behind many calls of its group that have to wait for a limit."""
    await process.transport.limits().declare({API: Numbers(1, 60_000)})
    rated = envelopes("a", 2_500, terms=Terms(rates=(RateTerm("api"),), group="a"))
    consumer = await process.consumer()
    await process.publish(*rated)
    [first] = await stage.fetch(consumer, 1)
    await are_brought(stage, process, 2_499)
    await process.publish(*envelopes("last", 1, "a"))
    found = await consumer.fetch(LIMITS, 5, wait=False)
    assert [delivery.id for delivery in found] == ["last0000"]
    assert not await consumer.fetch(LIMITS, 5, wait=False)
    await finish(consumer, [first, *found])


async def test_rabbitmq_is_cut_off(
    stage: Stage, process: Process, rabbitmq_server: RabbitMQServer, memory: RedisServer
) -> None:
    """When the connection ends while calls are brought to their lanes, again and again, each runs once."""
    published = [*envelopes("a", 3_000, "a"), *envelopes("plain", 200), *envelopes("b", 20, "b")]
    await process.publish(*published)
    consumer = await (await stage.process()).consumer()
    held = await stage.fetch(consumer, 1)
    async with Redis.from_url(memory.url) as redis:
        for least in (500, 1_000, 2_000):
            await wait_until(lambda least=least: stand_in_lanes(redis, stage, least), f"{least} calls stand in lanes")
            await asyncio.to_thread(rabbitmq_server.close_connections)
    await finish(consumer, held)
    found = [held[0].id]
    while len(found) < len(published):
        with suppress(BrokerUnavailable):
            found += await drained(consumer, 1)
    assert sorted(found) == ids(published)
    await stage.backend.pass_time(0.5)
    assert not await consumer.fetch(LIMITS, 20, wait=False)


async def test_the_store_is_away(stage: Stage, process: Process, memory: RedisServer) -> None:
    """While the store is away calls stay in RabbitMQ, and when it is back all of them come, each once."""
    published = [*envelopes("a", 3_000, "a"), *envelopes("b", 20, "b")]
    await process.publish(*published)
    consumer = await process.consumer()
    held = await stage.fetch(consumer, 1)
    await are_brought(stage, process, 500)
    await asyncio.to_thread(memory.kill)
    with pytest.raises(BrokerUnavailable):
        await consumer.fetch(LIMITS, 5)
    await stage.backend.pass_time(2)
    await asyncio.to_thread(memory.start)

    async def ended() -> bool:
        try:
            return all(await consumer.settle([Done(each, KEPT) for each in held]))
        except BrokerUnavailable:
            return False

    await stage.until(ended, "the one that runs to end")
    found = [each.id for each in held]
    while len(found) < len(published):
        try:
            found += await drained(consumer, 1)
        except BrokerUnavailable:
            continue
    assert sorted(found) == ids(published)


async def test_a_burst_does_not_end_while_the_store_is_away(
    stage: Stage, process: Process, memory: RedisServer
) -> None:
    """Who does not wait is told that the store does not answer, and not that nothing is ready."""
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 30, "a"))
    await stage.fetch(consumer, 1)
    await are_brought(stage, process, 29)
    await asyncio.to_thread(memory.kill)
    with pytest.raises(BrokerUnavailable):
        await consumer.fetch(LIMITS, 5, wait=False)


async def test_who_leaves_meanwhile_hands_all_back(stage: Stage, process: Process) -> None:
    """A consumer that leaves while it brings calls to their lanes has none left that others do not get."""
    published = [*envelopes("a", 3_000, "a"), *envelopes("plain", 300), *envelopes("b", 20, "b")]
    await process.publish(*published)
    leaving = await (await stage.process()).consumer()
    held = await stage.fetch(leaving, 3)
    await are_brought(stage, process, 500)
    assert await leaving.leave() == 3
    other = await process.consumer()
    found = await drained(other, len(published))
    assert sorted(found) == ids(published)
    assert {each.id for each in held} <= set(found)


async def test_who_is_taken_for_dead_meanwhile(stage: Stage, process: Process) -> None:
    """Of a consumer that loses its lease while it brings calls to their lanes, others get all."""
    published = [*envelopes("a", 3_000, "a"), *envelopes("b", 20, "b")]
    await process.publish(*published)
    gone_process = await stage.process()
    gone = await gone_process.consumer()
    await stage.fetch(gone, 3)
    await are_brought(stage, process, 100)
    assert await process.transport.release([gone.name]) == 3
    other = await process.consumer()
    most = 2 * sorting.BATCH + 3  # that it may have: a consumer may begin before what the last one had is acknowledged
    found = await drained(other, len(published) - most)
    await gone_process.close()  # as its worker does, which has learned that its lease is lost
    found += await drained(other, len(published) - len(found))
    assert sorted(found) == ids(published)


async def test_many_that_run_let_no_more_come(stage: Stage, process: Process) -> None:
    """However many calls are begun one by one, the server sends no more than one batch beside what runs."""
    await process.publish(*envelopes("a", 5_000, "a"))
    consumer = await process.consumer()
    assert isinstance(consumer, LedgerConsumer)
    intake = consumer.intake(QUEUE)
    assert intake is not None
    most = 0
    held: list[Delivery] = []
    for _ in range(60):
        held += await stage.fetch(consumer, 1)
        most = max(most, len(intake.buffer))
    assert most <= sorting.BATCH + 2 * 60


async def test_idle_with_calls_in_lanes(stage: Stage, process: Process, memory: RedisServer) -> None:
    """While all that there is waits in lanes, and nobody has time, the store is asked next to nothing."""
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 500, "a"), *envelopes("b", 5, "b"))
    held = await stage.fetch(consumer, 1)
    await are_brought(stage, process, 504)
    waits = stage.start(consumer.fetch({QUEUE: 0, OTHER_QUEUE: 5}, 5))
    await stage.backend.pass_time(1)

    async def idle() -> None:
        await asyncio.sleep(3)

    async with Redis.from_url(memory.url) as redis:
        assert await cost_of(redis, idle, besides=("info",)) < 200  # within some scripts a second
    assert not waits.done()
    await finish(consumer, held)


async def test_ends_of_all_kinds(stage: Stage, process: Process) -> None:
    """What is tried again, handed back, cancelled or put off while it stands in a lane runs as often as it should."""
    published = [*envelopes("a", 300, "a"), *envelopes("b", 30, "b"), *envelopes("plain", 100)]
    await process.publish(*published)
    consumer = await process.consumer()
    held = await stage.fetch(consumer, 1)
    await are_brought(stage, process, 400)
    cancelled = [f"a{n:04}" for n in range(100, 150)] + ["b0020", "plain0050"]
    for id in cancelled:
        assert await process.transport.withdraw(id, QUEUE, Outcome(None)), id
    runs: list[str] = []
    over = len(published) - len(cancelled)
    ended: set[str] = set()
    deliveries: Sequence[Delivery] = held
    async with asyncio.timeout(60):
        while len(ended) < over:
            for n, delivery in enumerate(deliveries):
                count = runs.count(delivery.id)
                runs.append(delivery.id)
                if count == 0 and n % 3 == 0:
                    assert all(await consumer.settle([Return(delivery)]))
                elif count == 0 and n % 3 == 1:
                    again = Again(delivery, b"", process.transport.now_ms() + 100 * (n % 2))
                    assert all(await consumer.settle([again]))
                else:
                    await finish(consumer, [delivery])
                    ended.add(delivery.id)
            deliveries = await consumer.fetch(LIMITS, 10) if len(ended) < over else []
    assert not set(cancelled) & set(runs)
    assert max(runs.count(id) for id in set(runs)) == 2
    await stage.backend.pass_time(0.5)
    assert not await consumer.fetch(LIMITS, 9, wait=False)
    assert await waiting(process) == 0


async def test_groups_end_while_others_wait(stage: Stage, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where groups are forgotten while calls wait in lanes, and more come, all run."""
    monkeypatch.setattr(sorting, "REMEMBERED", 0.2)
    monkeypatch.setattr(loans, "PARKED_ROUND_MS", 300)
    consumer = await process.consumer()
    await process.publish(*envelopes("a", 50, "a"), *envelopes("plain", 400))
    held = await stage.fetch(consumer, 1)
    await are_brought(stage, process, 400)
    await stage.backend.pass_time(0.5)
    await process.publish(*envelopes("later", 600))
    await stage.backend.pass_time(1.5)
    await process.publish(*envelopes("b", 20, "b"))
    await stage.backend.pass_time(0.5)
    await finish(consumer, held)
    found = await drained(consumer, 1_069)
    assert len(set(found)) == 1_069
    assert await waiting(process) == 0


async def test_two_that_race(stage: Stage, process: Process) -> None:
    """Two consumers that bring and take at the same time get each call once."""
    published = [*envelopes("a", 2_000, "a"), *envelopes("plain", 200), *envelopes("b", 50, "b")]
    slot = Terms(slots=(SlotTerm("room", ""),), group="c")
    rate = Terms(rates=(RateTerm("api", ""),), group="d")
    published += [*envelopes("c", 50, terms=slot), *envelopes("d", 50, terms=rate)]
    await process.transport.limits().declare({ROOM: Numbers(2), API: Numbers(50, 1_000)})
    found: list[str] = []

    async def take(consumer: Consumer, count: int) -> None:
        while len(found) < len(published):
            deliveries = await consumer.fetch(LIMITS, count)
            found.extend(delivery.id for delivery in deliveries)
            await finish(consumer, deliveries)

    consumers = [await (await stage.process()).consumer() for _ in range(2)]
    tasks = [stage.start(take(consumer, count)) for consumer, count in zip(consumers, (1, 7), strict=True)]
    await process.publish(*published)
    async with asyncio.timeout(60):
        while len(found) < len(published):
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
    await stage.backend.pass_time(0.3)
    assert sorted(found) == ids(published)
