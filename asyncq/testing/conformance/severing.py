"""What is promised of calls that are withdrawn while they run, and of what follows a settlement."""

import asyncio

import pytest

from asyncq.store import Place
from asyncq.testing.conformance.settling import KINDS, NOTHING, settlement_of
from asyncq.testing.conformance.stage import (
    KEPT,
    LIMITS,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    SOON,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Consumer, Dead, Delivery, Done, Envelope, Outcome

CANCELLED = Outcome(b"cancelled", MINUTE_MS)


@needs(has_memory=True)
class SeveringSuite(Suite):
    """Withdrawing what runs: it ends at once, and who runs it is told."""

    async def test_a_running_call_ends_at_once(self, stage: Stage, process: Process) -> None:
        """Its record is kept and told, nothing of it is left, and its id is taken by the record alone."""
        other = await stage.process()
        reply = await other.listen()
        await process.publish_ids("a")
        await stage.fetch(await process.consumer(), 1)
        outcome = Outcome(RECORD, MINUTE_MS, reply)
        assert await other.transport.withdraw("a", QUEUE, outcome, even_running=True)
        assert (await other.end_of("a")).record in {RECORD, None}
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.record, sighting.place) == (RECORD, None)
        assert await process.counts() == NOTHING
        assert not await other.transport.withdraw("a", QUEUE, CANCELLED, even_running=True)

    async def test_its_watchers_are_told(self, stage: Stage, process: Process) -> None:
        """Who watches a running call is told of its end, also where nothing is kept."""
        other = await stage.process()
        await other.listen()
        await process.publish_ids("a", "b")
        await stage.fetch(await process.consumer(), 2)
        for id, outcome in (("a", CANCELLED), ("b", NOT_KEPT)):
            assert await other.look(id, watcher=other.address)
            assert await process.transport.withdraw(id, QUEUE, outcome, even_running=True)
            assert (await other.end_of(id)).record in {outcome.record, None}

    async def test_who_runs_it_is_told(self, stage: Stage, process: Process) -> None:
        """The consumer that held it is told soon, and nobody else."""
        runner = await stage.process()
        await process.publish_ids("a", "b")
        a, _ = await stage.fetch(await runner.consumer(), 2)
        bystander = await stage.process()
        await bystander.consumer()
        severed_ms = stage.backend.now_ms()
        assert await process.transport.withdraw("a", QUEUE, CANCELLED, even_running=True)
        await runner.loses(a.token)
        assert stage.backend.now_ms() - severed_ms < SOON * 1000
        assert bystander.severed == []

    @pytest.mark.parametrize("kind", KINDS)
    async def test_its_end_takes_no_effect(self, stage: Stage, process: Process, kind: str) -> None:
        """Whatever the consumer settles of it afterwards is refused, beside a settlement that is not."""
        await process.publish_ids("a", "b")
        consumer = await process.consumer()
        a, b = await stage.fetch(consumer, 2)
        assert await process.transport.withdraw("a", QUEUE, CANCELLED, even_running=True)
        assert list(await consumer.settle([settlement_of(kind, a), Done(b, KEPT)])) == [False, True]
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.record == CANCELLED.record
        assert await process.counts() == NOTHING
        assert list(await process.transport.dead_letters(QUEUE)) == []
        assert await consumer.leave() == 0

    async def test_it_does_not_run_again_when_its_consumer_dies(self, stage: Stage, process: Process) -> None:
        """The death of the consumer that held it brings nothing back."""
        await process.publish_ids("a", "b")
        consumer = await process.consumer()
        await stage.fetch(consumer, 2)
        assert await process.transport.withdraw("a", QUEUE, CANCELLED, even_running=True)
        assert await process.transport.release([consumer.name]) == 1
        assert await stage.fetch_ids(await process.consumer(), 1) == ["b"]
        assert await process.counts() == process.counted(running=1)

    async def test_a_new_call_of_its_id_is_another(self, stage: Stage, process: Process) -> None:
        """Published anew, the id is fetched, and neither the old delivery nor the old end touches it.

        Its consumer is told of the old delivery alone, also where it holds the new one by then.
        """
        await process.publish_ids("a")
        consumer = await process.consumer()
        (old,) = await stage.fetch(consumer, 1)
        assert await process.transport.withdraw("a", QUEUE, NOT_KEPT, even_running=True)
        await process.publish_ids("a")
        (new,) = await stage.fetch(consumer, 1)
        assert new.crashes == 0
        await process.loses(old.token)
        assert list(await consumer.settle([Done(old, KEPT), Done(new, NOT_KEPT)])) == [False, True]

    async def test_what_waits_is_withdrawn_as_well(self, stage: Stage, process: Process) -> None:
        """What is ready, scheduled or waits for a retry ends in the same way, and nobody is told to stop."""
        later_ms = process.transport.now_ms() + MINUTE_MS
        await process.publish_ids("again", "ready")
        await process.publish_ids("later", due_ms=later_ms)
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(delivery, b"retry", later_ms))
        for id in ("again", "ready", "later"):
            assert await process.transport.withdraw(id, QUEUE, CANCELLED, even_running=True)
        await process.expect_counts()
        assert list(await consumer.fetch(LIMITS, 10, wait=False)) == []
        assert process.severed == []

    async def test_a_withdrawal_races_a_settlement(self, stage: Stage, process: Process) -> None:
        """Of a hundred calls that are withdrawn while they are settled, each ends in one of the two ways."""
        ids = [str(n) for n in range(100)]
        await process.publish_ids(*ids)
        other = await stage.process()
        consumer = await other.consumer()
        deliveries = await stage.fetch(consumer, 100)

        async def settle() -> list[bool]:
            return [await settle_one(consumer, Done(delivery, KEPT)) for delivery in deliveries]

        async def withdraw() -> list[bool]:
            return [await process.transport.withdraw(id, QUEUE, CANCELLED, even_running=True) for id in reversed(ids)]

        settled, withdrawn = await asyncio.gather(settle(), withdraw())
        for id, is_settled, is_withdrawn in zip(ids, settled, reversed(withdrawn), strict=True):
            assert is_settled is not is_withdrawn
            sighting = await process.look(id)
            assert sighting is not None
            assert sighting.record == (RECORD if is_settled else CANCELLED.record)
        assert await process.counts() == NOTHING


class FollowingSuite(Suite):
    """What a settlement publishes is part of it."""

    async def test_what_follows_is_published(self, stage: Stage, process: Process) -> None:
        """Both ends publish what follows: at once or later, with its priority, also in another queue."""
        await process.publish_ids("done", "dead")
        consumer = await process.consumer()
        done, dead = await stage.fetch(consumer, 2)
        later_ms = process.transport.now_ms() + MINUTE_MS
        then = [
            Envelope("plain", QUEUE, b"1"),
            Envelope("urgent", QUEUE, b"2", priority=5),
            Envelope("other", OTHER_QUEUE, b"3"),
        ]
        last = Envelope("later", QUEUE, b"4", due_ms=later_ms)
        settlements = [Done(done, KEPT, then), Dead(dead, KEPT, "It failed.", MINUTE_MS, [last])]
        assert list(await consumer.settle(settlements)) == [True, True]
        deliveries = await stage.fetch(consumer, 3, {QUEUE: 5, OTHER_QUEUE: 5})
        found = [(delivery.id, delivery.body, delivery.priority) for delivery in deliveries]
        if not process.transport.capabilities.has_priorities:
            found.sort(key=lambda each: (-each[2], each[1]))
        assert found == [("urgent", b"2", 5), ("plain", b"1", 0), ("other", b"3", 0)]
        if process.remembers:
            sighting = await process.look("later", None)
            assert sighting is not None
            assert (sighting.body, sighting.place) == (b"4", Place.SCHEDULED)
        assert await process.counts() == process.counted(scheduled=1, running=2, dead=1)

    async def test_what_follows_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """A consumer that waits in another queue gets what follows there."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        other = await (await stage.process()).consumer(queues=["never-used"])
        fetching = stage.start(stage.fetch(other, 1, {"never-used": 1}))
        await stage.backend.pass_time(0.05)
        assert await settle_one(consumer, Done(delivery, KEPT, [Envelope("next", "never-used", b"1")]))
        assert [each.id for each in await stage.outcome(fetching, "what follows")] == ["next"]
        if process.remembers:
            sighting = await (await stage.process()).look("next", None)
            assert sighting is not None
            assert sighting.queue == "never-used"

    @needs(has_memory=True)
    @pytest.mark.parametrize("loss", ["reclaimed", "withdrawn"])
    async def test_nothing_follows_what_took_no_effect(self, stage: Stage, process: Process, loss: str) -> None:
        """Who has lost a delivery publishes nothing with it."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        if loss == "reclaimed":
            assert await process.transport.release([consumer.name]) == 1
        else:
            assert await process.transport.withdraw("a", QUEUE, CANCELLED, even_running=True)
        await _publish_in_vain(consumer, delivery)
        assert await process.look("next") is None

    async def test_nothing_follows_a_second_settlement(self, stage: Stage, process: Process) -> None:
        """Who has settled a delivery already publishes nothing with it."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await finish(consumer, [delivery])
        await _publish_in_vain(consumer, delivery)
        assert await process.counts() == NOTHING

    @needs(has_memory=True)
    async def test_a_taken_id_is_passed_over(self, stage: Stage, process: Process) -> None:
        """What follows under an id that waits, runs or has a record is not published again; the rest is."""
        await process.publish_ids("a", "running", "ended", "waiting")
        consumer = await process.consumer()
        a, _, ended = await stage.fetch(consumer, 3)
        await finish(consumer, [ended])
        then = [Envelope(id, QUEUE, b"new") for id in ("running", "ended", "waiting", "next")]
        assert await settle_one(consumer, Done(a, KEPT, then))
        assert await process.counts() == process.counted(ready=2, running=1)
        sightings = [await process.look(id) for id in ("running", "ended", "waiting", "next")]
        assert [sighting and (sighting.body or sighting.record) for sighting in sightings] == [
            b"body of running",
            RECORD,
            b"body of waiting",
            b"new",
        ]


async def _publish_in_vain(consumer: Consumer, delivery: Delivery) -> None:
    """Settle what is the consumer's no more, with something to follow."""
    then = [Envelope("next", QUEUE, b"1")]
    assert not await settle_one(consumer, Done(delivery, KEPT, then))
    assert not await settle_one(consumer, Dead(delivery, KEPT, "It failed.", MINUTE_MS, then))
