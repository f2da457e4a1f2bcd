"""What is promised to those who give a call that waits another time."""

import asyncio

from asyncq.testing.conformance.stage import KEPT, MINUTE_MS, QUEUE, Process, Stage, body_of, finish, settle_one
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Envelope, Owned, Return, UniqueTerm

NEW = b"another body"


@needs(reschedules=True)
class ReschedulingSuite(Suite):
    """Calls that wait, and get another time and another body in one step."""

    async def test_sooner(self, stage: Stage, process: Process) -> None:
        """A call that is scheduled is fetched at its new time, with its new body, by a consumer that waits already."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + MINUTE_MS)
        fetching = stage.start(stage.fetch(await process.consumer(), 1))
        assert await process.transport.reschedule("a", QUEUE, body_of("a"), NEW, 0)
        (delivery,) = await stage.outcome(fetching, "the message to be fetched")
        assert (delivery.id, delivery.body) == ("a", NEW)

    async def test_later(self, stage: Stage, process: Process) -> None:
        """A call that is due, or soon to be, waits until its new time; those around it stay where they are."""
        now_ms = process.transport.now_ms()
        await process.publish_ids("a", "b", "c")
        await process.publish_ids("d", due_ms=now_ms + 50)
        for id in "bd":
            assert await process.transport.reschedule(id, QUEUE, body_of(id), NEW, now_ms + MINUTE_MS)
        await process.expect_counts(ready=2, scheduled=2)
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 2) == ["a", "c"]
        await stage.backend.pass_time(0.1)
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False) == []

    async def test_in_a_long_line(self, stage: Stage, process: Process) -> None:
        """Out of the middle of thousands it is taken once, and runs once, how often it may be moved."""
        ids = [f"call-{n}" for n in range(5_000)]
        await process.publish_ids(*ids)
        middle, body = "call-2500", body_of("call-2500")
        for n in range(3):
            due_ms = 0 if n % 2 else process.transport.now_ms() + 10
            assert await process.transport.reschedule(middle, QUEUE, body, f"{n}".encode(), due_ms)
            body = f"{n}".encode()
        await stage.backend.pass_time(0.05)
        consumer = await process.consumer()
        found = [each for _ in range(10) for each in await stage.fetch(consumer, 500)]
        assert sorted(each.id for each in found) == sorted(ids)
        assert [each.body for each in found if each.id == middle] == [body]
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False) == []

    async def test_what_has_changed_stays(self, stage: Stage, process: Process) -> None:
        """Where the body is not the one that was read, or the queue or id is another, nothing is done."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + MINUTE_MS)
        assert not await process.transport.reschedule("a", QUEUE, b"as it was", NEW, 0)
        assert not await process.transport.reschedule("b", QUEUE, body_of("a"), NEW, 0)
        assert not await process.transport.reschedule("a", "nowhere", body_of("a"), NEW, 0)
        assert await process.counts() == process.counted(scheduled=1)

    async def test_what_runs_stays(self, stage: Stage, process: Process) -> None:
        """What is lent, or has ended, is not touched; what was handed back is."""
        consumer = await process.consumer()
        await process.publish_ids("a")
        (delivery,) = await stage.fetch(consumer, 1)
        assert not await process.transport.reschedule("a", QUEUE, body_of("a"), NEW, 0)
        await settle_one(consumer, Return(delivery))
        assert await process.transport.reschedule("a", QUEUE, body_of("a"), NEW, process.transport.now_ms() + 10)
        again = await stage.fetch(consumer, 1)
        assert again[0].body == NEW
        await finish(consumer, again)
        assert not await process.transport.reschedule("a", QUEUE, NEW, NEW, 0)

    async def test_crashes_stay(self, stage: Stage, process: Process) -> None:
        """A suspect that is moved is a suspect still."""
        await process.publish_ids("a")
        for _ in range(2):
            dead = await process.consumer()
            await stage.fetch(dead, 1)
            await process.transport.release([dead.name])
        assert await process.transport.reschedule("a", QUEUE, body_of("a"), NEW, process.transport.now_ms() + 10)
        await stage.backend.pass_time(0.05)
        consumer = await process.consumer()
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False, suspects=0) == []
        (delivery,) = await stage.fetch(consumer, 1)
        assert (delivery.id, delivery.crashes) == ("a", 2)

    async def test_one_of_two_wins(self, stage: Stage, process: Process) -> None:
        """Of two that have read the same body one moves the call."""
        other = await stage.process()
        due_ms = process.transport.now_ms() + MINUTE_MS
        await process.publish_ids("a", due_ms=due_ms)
        moves = (each.transport.reschedule("a", QUEUE, body_of("a"), NEW, due_ms + 1) for each in (process, other))
        assert sorted(await asyncio.gather(*moves)) == [False, True]

    async def test_it_can_be_withdrawn(self, stage: Stage, process: Process) -> None:
        """A call that was moved, and stands behind its old place, is ended where it stands now, and never fetched."""
        ids = [f"call-{n}" for n in range(3_000)]
        await process.publish_ids(*ids)
        assert await process.transport.reschedule("call-1500", QUEUE, body_of("call-1500"), NEW, 0)
        assert await process.transport.withdraw("call-1500", QUEUE, KEPT)
        consumer = await process.consumer()
        found = [id for _ in range(6) for id in await stage.fetch_ids(consumer, 499)]
        found += await stage.fetch_ids(consumer, 5)
        assert process.in_line(found) == process.in_line(id for id in ids if id != "call-1500")
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False) == []

    @needs(has_uniqueness=True)
    async def test_it_keeps_its_key(self, process: Process) -> None:
        """A call that is moved has its unique key still."""
        term = UniqueTerm("key")
        await process.publish(Envelope("a", QUEUE, b"a", unique=term))
        assert await process.transport.reschedule("a", QUEUE, b"a", NEW, process.transport.now_ms() + MINUTE_MS)
        assert list(await process.publish(Envelope("b", QUEUE, b"b", unique=term))) == [Owned("a", QUEUE)]
