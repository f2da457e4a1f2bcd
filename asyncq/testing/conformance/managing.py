"""What counting and withdrawing promise."""

import asyncio

from asyncq.testing.conformance.settling import NOTHING
from asyncq.testing.conformance.stage import (
    KEPT,
    LIMITS,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    Process,
    Stage,
    body_of,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Counts, Dead, Outcome, Return


class ManagingSuite(Suite):
    """Counts, and messages that are taken out again."""

    @needs(counts_running=True, counts_calls=True)
    async def test_counts_say_where_messages_stand(self, stage: Stage, process: Process) -> None:
        """Each queue is counted by itself, in the order asked for; one that was never used has zeros."""
        later_ms = process.transport.now_ms() + MINUTE_MS
        await process.publish_ids("dead", "again", "run-1", "run-2", "ready-1", "ready-2", "ready-3")
        await process.publish_ids("later", due_ms=later_ms)
        await process.publish_ids("report", queue=OTHER_QUEUE, priority=9)
        consumer = await process.consumer()
        dead, again, *_ = await stage.fetch(consumer, 4)
        assert list(await consumer.settle([Dead(dead, KEPT, "", MINUTE_MS), Again(again, b"", later_ms)])) == [True] * 2
        other = await stage.process()
        assert list(await other.transport.counts([OTHER_QUEUE, "never-used", QUEUE])) == [
            process.counted(ready=1),
            NOTHING,
            Counts(ready=3, scheduled=2, running=2, dead=1),
        ]

    async def test_what_has_become_due_counts_as_ready(self, stage: Stage, process: Process) -> None:
        """A delayed message moves from scheduled to ready when its time has come, with a consumer about or without."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + 4_000)
        assert await process.counts() == process.counted(scheduled=1)

        async def is_ready() -> bool:
            return await process.counts() == process.counted(ready=1)

        await stage.until(is_ready, "the message to be ready")

    @needs(has_memory=True)
    async def test_a_waiting_message_can_be_withdrawn(self, stage: Stage, process: Process) -> None:
        """A message that nobody has fetched is taken out: its record is kept, its publisher told, and it never runs."""
        other = await stage.process()
        reply = await other.listen()
        await process.publish_ids("a", "b", "c")
        assert await other.transport.withdraw("b", QUEUE, Outcome(RECORD, MINUTE_MS, reply))
        sighting = await process.look("b")
        assert sighting is not None
        assert sighting.record == RECORD
        assert (await other.end_of("b")).record in {RECORD, None}
        assert await stage.fetch_ids(await process.consumer(), 2) == ["a", "c"]
        await process.expect_counts(running=2)

    @needs(has_memory=True)
    async def test_a_scheduled_message_can_be_withdrawn(self, process: Process) -> None:
        """So is one that is not due yet."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + MINUTE_MS)
        assert await process.transport.withdraw("a", QUEUE, NOT_KEPT)
        assert await process.look("a") is None
        assert await process.counts() == NOTHING

    @needs(has_memory=True)
    async def test_a_message_that_waits_for_a_retry_can_be_withdrawn(self, stage: Stage, process: Process) -> None:
        """So is one that has run before, between two attempts."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(delivery, b"retry", process.transport.now_ms() + MINUTE_MS))
        assert await process.transport.withdraw("a", QUEUE, KEPT)
        assert await process.counts() == NOTHING

    @needs(has_memory=True)
    async def test_a_returned_message_can_be_withdrawn(self, stage: Stage, process: Process) -> None:
        """So is one that was handed back, for it does not run; one that was reclaimed, too."""
        await process.publish_ids("a", "b")
        consumer = await process.consumer()
        a, _ = await stage.fetch(consumer, 2)
        assert await settle_one(consumer, Return(a))
        assert await process.transport.withdraw("a", QUEUE, KEPT)
        assert await process.transport.release([consumer.name]) == 1
        assert await process.transport.withdraw("b", QUEUE, KEPT)
        await process.expect_counts()
        assert list(await (await process.consumer()).fetch(LIMITS, 10, wait=False)) == []

    @needs(has_memory=True)
    async def test_a_running_message_is_not_withdrawn(self, stage: Stage, process: Process) -> None:
        """A message that is lent out stays as it is, and ends as its consumer says."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 1)
        assert not await process.transport.withdraw("a", QUEUE, Outcome(b"cancelled", MINUTE_MS))
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.record) == (body_of("a"), None)
        await finish(consumer, deliveries)

    @needs(has_memory=True)
    async def test_only_what_is_there_is_withdrawn(self, stage: Stage, process: Process) -> None:
        """Nothing is withdrawn, and nothing kept, of a call that is unknown, in another queue, withdrawn or ended."""
        assert not await process.transport.withdraw("unknown", QUEUE, KEPT)
        assert await process.look("unknown") is None
        await process.publish_ids("a", "b")
        assert not await process.transport.withdraw("b", OTHER_QUEUE, KEPT)
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await finish(consumer, [delivery])
        assert not await process.transport.withdraw("a", QUEUE, Outcome(b"cancelled", MINUTE_MS))
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.record == RECORD
        assert await process.transport.withdraw("b", QUEUE, NOT_KEPT)
        assert not await process.transport.withdraw("b", QUEUE, KEPT)
        assert await process.look("b") is None

    @needs(has_memory=True)
    async def test_a_withdrawal_races_a_fetch(self, stage: Stage, process: Process) -> None:
        """Of a hundred messages that are withdrawn while they are fetched, each is either fetched or withdrawn."""
        ids = [str(n) for n in range(100)]
        await process.publish_ids(*ids)
        other = await stage.process()
        consumer = await other.consumer()
        fetched: list[str] = []

        async def fetch() -> None:
            for _ in range(25):
                fetched.extend(delivery.id for delivery in await consumer.fetch(LIMITS, 2, wait=False))

        async def withdraw() -> list[str]:
            return [id for id in reversed(ids) if await process.transport.withdraw(id, QUEUE, NOT_KEPT)]

        _, withdrawn = await asyncio.gather(fetch(), withdraw())
        assert sorted(fetched + withdrawn, key=int) == ids
        await process.expect_counts(running=len(fetched))
