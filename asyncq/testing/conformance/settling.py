"""What settling promises: how each kind of settlement ends a delivery, once."""

import pytest

from asyncq.store import Place
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
    body_of,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Counts, Dead, Delivery, Done, Outcome, Return, Settlement

NOTHING = Counts(ready=0, scheduled=0, running=0, dead=0)
KINDS = ["done", "again", "return", "dead"]


def settlement_of(kind: str, delivery: Delivery) -> Settlement:
    """Return a settlement of this kind."""
    match kind:
        case "done":
            return Done(delivery, KEPT)
        case "again":
            return Again(delivery, b"retry", 0)
        case "return":
            return Return(delivery)
        case _:
            return Dead(delivery, KEPT, "It failed for good.", MINUTE_MS)


class SettlingSuite(Suite):
    """Done, Again and Return; each takes effect once and in one step."""

    @needs(has_memory=True)
    async def test_done_ends_a_call_and_keeps_its_record(self, stage: Stage, process: Process) -> None:
        """After `Done` nothing of the message is left, its record is found, and the publisher is told."""
        publisher = await stage.process()
        reply = await publisher.listen()
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(RECORD, MINUTE_MS, reply))
        assert await process.counts() == NOTHING
        sighting = await publisher.look("a")
        assert sighting is not None
        assert (sighting.queue, sighting.record, sighting.body, sighting.place) == (QUEUE, RECORD, None, None)
        assert (await publisher.end_of("a")).record in {RECORD, None}

    async def test_done_keeps_nothing_without_a_record(self, stage: Stage, process: Process) -> None:
        """Without a record the call is unknown after its end, and its waiter is told that it is gone."""
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(None, reply=reply))
        assert await process.counts() == NOTHING
        if process.remembers:
            assert await process.look("a") is None
        assert (await process.end_of("a")).record is None

    @needs(has_memory=True)
    async def test_a_record_is_found_by_whoever_is_told(self, stage: Stage, process: Process) -> None:
        """When a notice arrives, the record is there already: it is written before it is told."""
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await (await stage.process()).consumer()
        deliveries = await stage.fetch(consumer, 1)
        finishing = stage.start(finish(consumer, deliveries, Outcome(RECORD, MINUTE_MS, reply)))
        await process.end_of("a")
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.record == RECORD
        await stage.outcome(finishing, "the settlement to return")

    async def test_again_schedules_the_next_attempt(self, stage: Stage, process: Process) -> None:
        """After `Again` the id has the new body, is seen as scheduled, and is fetched when due with a new token."""
        await process.publish_ids("a", priority=4)
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        due_ms = process.transport.now_ms() + 1_000
        assert await settle_one(consumer, Again(first, b"retry", due_ms))
        if process.remembers:
            sighting = await process.look("a")
            assert sighting is not None
            assert (sighting.body, sighting.place, sighting.record) == (b"retry", Place.SCHEDULED, None)
        assert await process.counts() == process.counted(scheduled=1)
        assert list(await consumer.fetch(LIMITS, 1, wait=False)) == []
        (second,) = await stage.fetch(consumer, 1)
        late_ms = process.transport.now_ms() - due_ms
        assert 0 <= late_ms < SOON * 1000, f"{late_ms} ms late"
        assert (second.id, second.body, second.priority, second.crashes) == ("a", b"retry", 4, 0)
        assert second.token != first.token

    async def test_again_without_delay_is_ready_at_once(self, stage: Stage, process: Process) -> None:
        """A next attempt that is due already can be fetched by another consumer that waits."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        other = await (await stage.process()).consumer()
        fetching = stage.start(stage.fetch(other, 1))
        assert await settle_one(consumer, Again(delivery, b"retry", 0))
        assert [retry.body for retry in await stage.outcome(fetching, "the next attempt")] == [b"retry"]

    @needs(has_priorities=True)
    async def test_again_keeps_its_priority(self, stage: Stage, process: Process) -> None:
        """A next attempt with a larger priority comes before what waits with a smaller."""
        await process.publish_ids("a", priority=5)
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await process.publish_ids("b", priority=4)
        assert await settle_one(consumer, Again(delivery, b"retry", 0))
        assert await stage.fetch_ids(consumer, 2) == ["a", "b"]

    async def test_a_returned_message_is_unharmed(self, stage: Stage, process: Process) -> None:
        """After `Return` the same message is fetched again with a new token, and with no crash behind it."""
        await process.publish_ids("a", priority=2)
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Return(first))
        assert await process.counts() == process.counted(ready=1)
        if process.remembers:
            sighting = await process.look("a")
            assert sighting is not None
            assert (sighting.body, sighting.place, sighting.was_started) == (body_of("a"), Place.READY, False)
        (second,) = await stage.fetch(consumer, 1)
        assert second.token != first.token
        assert second._replace(token=first.token) == first

    @needs(keeps_place=True)
    async def test_a_returned_message_keeps_its_place(self, stage: Stage, process: Process) -> None:
        """What is handed back comes before all that was published later with the same priority."""
        await process.publish_ids("a", "b", "c")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await process.publish_ids("d")
        assert await settle_one(consumer, Return(delivery))
        assert await stage.fetch_ids(consumer, 4) == ["a", "b", "c", "d"]

    @needs(keeps_place=True)
    async def test_returned_messages_keep_their_order(self, stage: Stage, process: Process) -> None:
        """Several that are handed back, in any order and by two consumers, stand as they were published."""
        await process.publish_ids(*"abcdef")
        first = await process.consumer()
        second = await (await stage.process()).consumer()
        a, b = await stage.fetch(first, 2)
        c, d = await stage.fetch(second, 2)
        assert list(await second.settle([Return(d), Return(c)])) == [True, True]
        assert list(await first.settle([Return(b), Return(a)])) == [True, True]
        assert await stage.fetch_ids(first, 6) == list("abcdef")

    @needs(has_priorities=True, keeps_place=True)
    async def test_a_returned_message_keeps_its_priority(self, stage: Stage, process: Process) -> None:
        """What is handed back comes after messages with a larger priority and before those with a smaller."""
        await process.publish_ids("middle", priority=5)
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await process.publish_ids("small", priority=1)
        await process.publish_ids("large", priority=8)
        assert await settle_one(consumer, Return(delivery))
        assert await stage.fetch_ids(consumer, 3) == ["large", "middle", "small"]

    async def test_a_returned_message_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """A consumer of another process that waits is woken by a hand-back."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        other = await (await stage.process()).consumer()
        fetching = stage.start(stage.fetch(other, 1))
        await stage.backend.pass_time(0.05)
        returned_ms = stage.backend.now_ms()
        assert await settle_one(consumer, Return(delivery))
        assert [delivery.id for delivery in await stage.outcome(fetching, "the returned message")] == ["a"]
        assert stage.backend.now_ms() - returned_ms < SOON * 1000

    async def test_a_batch_is_settled_in_order_and_each_by_itself(self, stage: Stage, process: Process) -> None:
        """One call may hold all kinds, of two queues, and an outdated one: each result is its own."""
        await process.publish_ids("done", "again", "return", "dead", "old")
        await process.publish_ids("report", queue=OTHER_QUEUE)
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 6, {QUEUE: 10, OTHER_QUEUE: 10})
        found = {delivery.id: delivery for delivery in deliveries}
        await finish(consumer, [found["old"]])
        settlements = [settlement_of(kind, found[kind]) for kind in KINDS]
        settlements += [Done(found["old"], KEPT), Done(found["report"], KEPT), Done(found["report"], KEPT)]
        assert list(await consumer.settle(settlements)) == [True, True, True, True, False, True, False]
        assert await process.counts() == Counts(ready=2, scheduled=0, running=0, dead=1)
        assert await process.counts(OTHER_QUEUE) == NOTHING

    async def test_settling_nothing_is_no_trouble(self, process: Process) -> None:
        """An empty batch gives an empty answer."""
        assert list(await (await process.consumer()).settle([])) == []

    async def test_a_thousand_settlements_go_in_one_call(self, stage: Stage, process: Process) -> None:
        """A thousand deliveries are fetched, and settled in one call; nothing is left."""
        await process.publish_ids(*map(str, range(1000)))
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1000))
        assert await process.counts() == NOTHING
        if process.remembers:
            assert [await process.look(id) is None for id in ("0", "999", "1000")] == [False, False, True]

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_settlement_takes_effect_once(self, stage: Stage, process: Process, kind: str) -> None:
        """The same settlement sent again returns False, and everything stands as the first one left it."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, settlement_of(kind, delivery))
        before = await process.standing("a")
        assert not await settle_one(consumer, settlement_of(kind, delivery))
        assert not await settle_one(consumer, Done(delivery, Outcome(b"another", MINUTE_MS)))
        assert await process.standing("a") == before
        assert len(await process.transport.dead_letters(QUEUE)) == (kind == "dead")

    @pytest.mark.parametrize("kind", KINDS)
    async def test_an_older_token_settles_nothing(self, stage: Stage, process: Process, kind: str) -> None:
        """A delivery that was handed back and fetched again by the same consumer is settled by its new token only."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (old,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Return(old))
        (new,) = await stage.fetch(consumer, 1)
        assert not await settle_one(consumer, settlement_of(kind, old))
        assert await process.counts() == process.counted(running=1)
        assert await settle_one(consumer, settlement_of(kind, new))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_the_token_of_an_earlier_attempt_settles_nothing(
        self, stage: Stage, process: Process, kind: str
    ) -> None:
        """While the next attempt runs with the same consumer, the delivery of the attempt before is outdated."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (old,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(old, b"retry", 0))
        (new,) = await stage.fetch(consumer, 1)
        assert not await settle_one(consumer, settlement_of(kind, old))
        assert await process.counts() == process.counted(running=1)
        assert await settle_one(consumer, settlement_of(kind, new))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_nobody_settles_what_another_holds(self, stage: Stage, process: Process, kind: str) -> None:
        """A delivery in the hands of another consumer can't be settled, its token notwithstanding."""
        await process.publish_ids("a")
        holder = await process.consumer()
        (delivery,) = await stage.fetch(holder, 1)
        other = await process.consumer()
        assert not await settle_one(other, settlement_of(kind, delivery))
        assert await process.counts() == process.counted(running=1)
        assert await settle_one(holder, settlement_of(kind, delivery))

    async def test_a_republished_id_is_not_settled_by_its_past(self, stage: Stage, process: Process) -> None:
        """A delivery of a call that has ended settles nothing of a new call with the same id."""
        consumer = await process.consumer()
        await process.publish_ids("a")
        (old,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Done(old, NOT_KEPT))
        await process.publish_ids("a")
        (new,) = await stage.fetch(consumer, 1)
        assert not await settle_one(consumer, Done(old, KEPT))
        assert await process.counts() == process.counted(running=1)
        assert await settle_one(consumer, Done(new, NOT_KEPT))
