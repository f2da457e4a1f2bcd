"""RabbitMQ with a store: what is published, lent and settled where a ledger tells the copies of a call apart."""

import asyncio

import pytest

from asyncq import ConfigurationError, Context, Depends, DuplicateId, Queue, RabbitMQBroker, RetryPolicy, Status, Worker
from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.ledger import Ledger
from asyncq.rabbitmq.issuing import claim_ms
from asyncq.store import Place
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.settling import KINDS, settlement_of
from asyncq.testing.conformance.stage import LIMITS, QUEUE, RECORD, Process, Stage, finish, settle_one
from asyncq.testing.conformance.suspecting import crash
from asyncq.transport import (
    SUSPECT_CRASHES,
    Again,
    Change,
    Changed,
    Dead,
    Done,
    Envelope,
    Outcome,
    Owned,
    Return,
    Revival,
    Revived,
    UniqueTerm,
)
from tests.chaos.proxy import Proxy
from tests.conformance.backends import Redis
from tests.rabbitmq.backend import RememberingRabbitMQ
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import StartRedis
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
def backend(rabbitmq_url: str, redis_url: str) -> Backend:
    """The shared server, and the shared Redis as its store."""
    return RememberingRabbitMQ(rabbitmq_url, Redis(redis_url))


@pytest.mark.parametrize("kind", KINDS)
async def test_who_was_taken_for_dead_settles_nothing(stage: Stage, process: Process, kind: str) -> None:
    """What a late consumer settles has no effect and nothing follows from it, before and after another has the call."""
    await process.publish_ids("a")
    loser = await process.consumer()
    (delivery,) = await stage.fetch(loser, 1)
    supervisor = await stage.process()
    assert await supervisor.transport.release([loser.name]) == 1
    assert not await settle_one(loser, settlement_of(kind, delivery))
    other = await (await stage.process()).consumer()
    (again,) = await stage.fetch(other, 1)
    assert (again.body, again.crashes) == (delivery.body, 1)
    assert not await settle_one(loser, settlement_of(kind, delivery))
    await finish(other, [again])
    assert not await settle_one(loser, settlement_of(kind, delivery))
    sighting = await process.look("a")
    assert sighting is not None
    assert sighting.record == RECORD
    assert list(await process.transport.dead_letters(QUEUE)) == []
    assert list(await other.fetch(LIMITS, 10, wait=False)) == []


async def test_a_copy_of_what_runs_is_not_run(stage: Stage, process: Process) -> None:
    """A second message of a call that runs goes round, and is dropped when the call has ended."""
    await process.publish_ids("a")
    closing = await stage.process()
    holder = await closing.consumer()
    (delivery,) = await stage.fetch(holder, 1)
    other = await process.consumer()
    fetching = stage.start(other.fetch(LIMITS, 10))
    for intake in holder._intakes.values():  # type: ignore[attr-defined] - its channels end, as when a connection is cut
        await intake.close()
    await finish(holder, [delivery])
    await process.publish_ids("b")
    assert [each.id for each in await stage.outcome(fetching, "the other call")] == ["b"]


async def test_who_dies_has_died_of_no_suspect_that_it_passed_over(stage: Stage, process: Process) -> None:
    """A consumer that is lent one suspect, and dies before it does anything else, has had no other at any moment."""
    await process.publish_ids(*"abcd")
    for _ in range(SUSPECT_CRASHES):
        await crash(stage, process, 4)
    killed = await process.transport.consumer(stage.new_name(), [QUEUE], lease=60)
    # Messages come, and go round; nothing else is done behind its fetches, as though it ended with each of them.
    stage.start(killed._keep_up())  # type: ignore[attr-defined]
    (lent,) = await stage.outcome(stage.start(killed.fetch(LIMITS, 10)), "a suspect")
    assert list(await killed.fetch(LIMITS, 10, wait=False, suspects=0)) == []
    assert (await process.counts()).running == 1
    assert await process.transport.release([killed.name]) == 1
    await killed.leave()
    found = await stage.fetch(await (await stage.process()).consumer(), 4)
    assert {each.id: each.crashes for each in found} == {**dict.fromkeys("abcd", SUSPECT_CRASHES), lent.id: 3}


async def test_an_attempt_that_is_sent_on_has_one_copy(stage: Stage, process: Process) -> None:
    """A next attempt is lent with its body; the copy of the attempt before it, which comes again, is not."""
    await process.publish_ids("a")
    holder = await process.consumer()
    (delivery,) = await stage.fetch(holder, 1)
    for intake in holder._intakes.values():  # type: ignore[attr-defined] - its channels end, as when a connection is cut
        await intake.close()
    assert await settle_one(holder, Again(delivery, b"retry", 0))
    (retry,) = await stage.fetch(await process.consumer(), 1)
    assert (retry.body, retry.crashes) == (b"retry", 0)
    assert list(await (await process.consumer()).fetch(LIMITS, 10, wait=False)) == []


async def test_what_is_handed_back_is_there_at_once(stage: Stage, process: Process) -> None:
    """What is handed back after its channel has ended does not wait for the copy that goes round."""
    await process.publish_ids("a")
    holder = await process.consumer(lease=60)
    (delivery,) = await stage.fetch(holder, 1)
    for intake in holder._intakes.values():  # type: ignore[attr-defined] - its channels end, as when a connection is cut
        await intake.close()
    assert await settle_one(holder, Return(delivery))
    assert await stage.fetch_ids(await process.consumer(), 1) == ["a"]


async def test_a_letter_whose_revival_was_cut_off(stage: Stage, process: Process) -> None:
    """Who dies before the message is published has left it, and its key, to the workers; a revival leaves nothing."""
    term = UniqueTerm("import:7")
    await process.publish(Envelope("a", QUEUE, b"a", unique=term), Envelope("b", QUEUE, b"b"))
    consumer = await process.consumer()
    for delivery in await stage.fetch(consumer, 2):
        assert await settle_one(consumer, Dead(delivery, Outcome(None), "no", 60_000))
    first, second = sorted(await process.transport.dead_letters(QUEUE))
    ledger: Ledger = process.transport._ledger  # type: ignore[attr-defined] - what one did who has been killed
    await ledger.reopen([Revival(first, first.body, unique=term)])
    assert list(await process.transport.revive([Revival(second, second.body)])) == [Revived.DONE]
    assert [orphan.id for orphan in await ledger.orphans(9)] == ["a"]
    assert list(await process.publish(Envelope("c", QUEUE, b"c", unique=term))) == [Owned("a", QUEUE)]
    held = await process.consumer()
    await finish(held, await stage.fetch(held, 1))
    await process.publish_ids("d")
    await stage.fetch(held, 1)
    assert await (await stage.process()).transport.release([held.name]) == 1
    assert {each.id for each in await stage.fetch(consumer, 2)} == {"a", "d"}


@pytest.mark.parametrize(("command_timeout", "seconds"), [(5.0, 120), (12.0, 120), (60.0, 600)])
def test_a_claim_outlasts_the_publish(command_timeout: float, seconds: int) -> None:
    """However long a server may be waited for, what is claimed is nobody else's before the publish has failed."""
    assert claim_ms(command_timeout) == seconds * 1000


async def test_a_refused_message_leaves_its_id_free(stage: Stage) -> None:
    """An id that was claimed for a message which a full queue refused can be published with another body."""
    process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
    await process.publish_ids("a")
    (refused,) = await process.publish(Envelope("b", QUEUE, b"first"))
    assert isinstance(refused, PublishRefused)
    consumer = await process.consumer()
    await finish(consumer, await stage.fetch(consumer, 1))
    assert list(await process.publish(Envelope("b", QUEUE, b"second"))) == [None]


async def test_a_store_that_is_away(rabbitmq_url: str, own_redis: StartRedis) -> None:
    """While the store does not answer, fresh calls are published and none is started; then they are known, and run."""
    memory = await asyncio.to_thread(own_redis)
    stage = Stage(RememberingRabbitMQ(rabbitmq_url, Redis(memory.url)))
    try:
        process = await stage.process()
        consumer = await process.consumer()
        await asyncio.to_thread(memory.pause)
        async with asyncio.timeout(4):
            assert list(await process.transport.publish([Envelope("a", QUEUE, b"a", is_fresh=True)])) == [None]
        with pytest.raises(BrokerUnavailable):
            await process.transport.publish([Envelope("b", QUEUE, b"b")])
        with pytest.raises(BrokerUnavailable):
            await stage.fetch(consumer, 1)
        await asyncio.to_thread(memory.resume)
        (delivery,) = await stage.fetch(consumer, 1)
        sighting = await process.look("a")
        assert sighting is not None
        assert (delivery.id, sighting.place) == ("a", Place.RUNNING)
        assert await settle_one(consumer, settlement_of("done", delivery))
    finally:
        await asyncio.to_thread(memory.resume)
        await stage.close()


async def test_a_store_that_is_back_knows_what_was_published(rabbitmq_url: str, own_redis: StartRedis) -> None:
    """The first answer of a store that was away already knows the calls that this process has published meanwhile."""
    memory = await asyncio.to_thread(own_redis)
    stage = Stage(RememberingRabbitMQ(rabbitmq_url, Redis(memory.url)))
    try:
        process = await stage.process()
        await asyncio.to_thread(memory.kill)
        assert list(await process.transport.publish([Envelope("a", QUEUE, b"a", is_fresh=True)])) == [None]
        for _ in range(3):  # of which each makes the pause before the next try longer
            with pytest.raises(BrokerUnavailable):
                await process.look("a")
        await asyncio.to_thread(memory.start)
        assert await process.look("a") is not None
    finally:
        await stage.close()


async def test_a_broker_with_its_store_in_memory(rabbitmq_url: str, namespace: str) -> None:
    """One process can keep its store in memory: progress, status and members are seen, as with any other."""
    broker = RabbitMQBroker(rabbitmq_url, store="memory://", namespace=namespace, command_timeout=20)
    assert not broker.capabilities.is_shared
    goes_on = asyncio.Event()

    @broker.task
    async def work(ctx: Context = Depends()) -> str:
        await ctx.progress(1, 2)
        await goes_on.wait()
        return "done"

    async with broker, asyncio.TaskGroup() as group:
        worker = Worker(broker)
        running = group.create_task(worker.run())
        handle = await work.kiq()

        async def has_progressed() -> bool:
            progress = await handle.progress()
            return progress is not None and progress.done == 1

        await wait_until(has_progressed, "progress to be seen")
        assert len(await broker.workers()) == 1
        goes_on.set()
        assert await asyncio.wait_for(handle, 10) == "done"
        running.cancel()


async def test_a_publish_that_failed_is_tried_again(
    rabbitmq_server: RabbitMQServer, redis_url: str, namespace: str
) -> None:
    """Who publishes under the same id once more after an outage has a call then, whoever had claimed that id before."""
    with Proxy(rabbitmq_server.port) as network:
        broker = RabbitMQBroker(network.url("amqp", "/"), store=redis_url, namespace=namespace, command_timeout=1)
        ran: list[str] = []

        @broker.task
        async def work(name: str) -> None:
            ran.append(name)

        async with broker:
            await work.kiq("declared")
            network.blackhole()
            with pytest.raises(BrokerUnavailable):
                await work.options(id="a").kiq("a")
            network.heal()
            await work.options(id="a").kiq("a")
            with pytest.raises(DuplicateId):
                await work.options(id="a").kiq("another")
            await Worker(broker, burst=True).run()
    assert ran == ["declared", "a"]


async def test_a_value_waits_for_no_other_call(
    rabbitmq_server: RabbitMQServer, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While RabbitMQ can't be reached a value is told, though the next attempt of another call can't be published."""
    with Proxy(rabbitmq_server.port) as network:
        broker = RabbitMQBroker(network.url("amqp", "/"), store=redis_url, namespace=namespace, command_timeout=1)
        started, may_fail, may_end = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()

        @broker.task(retry=RetryPolicy(max_attempts=2, delay=0.1))
        async def failing(ctx: Context = Depends()) -> int:
            started.release()
            await may_fail.wait()
            if ctx.attempt == 1:
                raise OSError("the first attempt")
            return ctx.attempt

        @broker.task
        async def work() -> str:
            started.release()
            await may_end.wait()
            return "done"

        async with broker, working(broker):
            failed, handle = await failing.kiq(), await work.kiq()
            await started.acquire()
            await started.acquire()
            network.blackhole()
            may_fail.set()
            await wait_until(lambda: "Cannot settle 1" in caplog.text, "the attempt to wait")
            may_end.set()
            assert await asyncio.wait_for(handle, 10) == "done"
            network.heal()
            assert await asyncio.wait_for(failed, 20) == 2


async def test_a_call_that_has_expired(rabbitmq_url: str, redis_url: str, namespace: str) -> None:
    """Who waits is told within a second, though no worker runs; and the message that still lies there is never run."""
    broker = RabbitMQBroker(rabbitmq_url, store=redis_url, namespace=namespace, command_timeout=20)
    ran: list[str] = []

    @broker.task
    async def work(name: str) -> None:
        ran.append(name)

    async with broker:
        handle = await work.options(expires=0.3).kiq("late")
        async with asyncio.timeout(2):
            assert (await handle.result()).status is Status.EXPIRED
        await work.kiq("in time")
        await Worker(broker, burst=True).run()
    assert ran == ["in time"]


async def test_a_dead_letter_runs_again(rabbitmq_url: str, redis_url: str, namespace: str) -> None:
    """A call that was put aside is revived under its id, and its handle is told how its next life ends."""
    broker = RabbitMQBroker(rabbitmq_url, store=redis_url, namespace=namespace, command_timeout=20)
    is_mended = False

    @broker.task(retry=None)
    async def work() -> str:
        if not is_mended:
            raise ValueError("broken")
        return "mended"

    async with broker:
        handle = await work.kiq()
        await Worker(broker, burst=True).run()
        assert await handle.status() is Status.FAILED
        is_mended = True
        assert (await broker.dead.retry(handle.id)).ids == [handle.id]
        assert await handle.status() is Status.QUEUED
        await Worker(broker, burst=True).run()
        assert await handle == "mended"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"store": "amqp://localhost"}, "cannot remember calls"),
        ({"store": "postgres://localhost"}, "names no broker"),
        ({"store": "memory://", "consumer_timeout": 0}, "consumer_timeout"),
    ],
)
async def test_what_cannot_be(options: dict[str, object], said: str) -> None:
    """A store that is none, and a time that cannot be the server's, are refused before anything is connected."""
    with pytest.raises(ConfigurationError, match=said):
        RabbitMQBroker("amqp://localhost", **options)  # type: ignore[arg-type] - wrong ones, too


async def test_a_tick_that_has_ended_is_not_published_again(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler dies between publishing a tick and moving on: the next only moves on, though no result is kept."""
    timetable = process.transport.timetable()
    call = Envelope("tick@1", QUEUE, b"tick", 0, 0)
    change = Change("tick", b"1", b"2", 10**13, (call,))
    assert list(await timetable.change([Change("tick", None, b"1", 1)])) == [Changed.DONE]

    async def die(changes: object) -> None:
        raise BrokerUnavailable("It has died.")

    with monkeypatch.context() as dying:
        dying.setattr(timetable._kept, "change", die)  # type: ignore[attr-defined]
        with pytest.raises(BrokerUnavailable):
            await timetable.change([change])
    consumer = await process.consumer()
    [delivery] = await consumer.fetch(LIMITS, 10)
    assert await settle_one(consumer, Done(delivery, Outcome(None)))

    assert list(await timetable.change([change])) == [Changed.DONE]
    assert list(await consumer.fetch(LIMITS, 10, wait=False)) == []
    assert list(await process.transport.publish([call])) == [None]
    assert [each.id for each in await consumer.fetch(LIMITS, 10)] == ["tick@1"]
