"""What is promised of suspects: messages that consumers died with again."""

from asyncq.store import Place
from asyncq.testing.conformance.settling import NOTHING
from asyncq.testing.conformance.stage import A_MOMENT, LIMITS, OTHER_QUEUE, QUEUE, SOON, Process, Stage, settle_one
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import SUSPECT_CRASHES, Again, Consumer, Delivery, Done, Outcome, Return


@needs(has_memory=True)
class SuspectingSuite(Suite):
    """Suspects are lent one by one where that is asked for, and nothing is held up by them."""

    async def test_one_crash_makes_no_suspect(self, stage: Stage, process: Process) -> None:
        """What somebody died with once is lent as before: it may have been an accident, or another's doing."""
        await process.publish_ids(*"abc")
        await crash(stage, process, 3)
        consumer = await process.consumer()
        deliveries = await consumer.fetch(LIMITS, 10, wait=False, suspects=0)
        assert [(delivery.id, delivery.crashes) for delivery in deliveries] == [("a", 1), ("b", 1), ("c", 1)]

    @needs(keeps_place=True)
    async def test_no_more_suspects_are_lent_than_asked_for(self, stage: Stage, process: Process) -> None:
        """Of three suspects one is lent, with what stands behind them; the others stay, in their places."""
        await _suspects(stage, process, "abc")
        await process.publish_ids("d", "e")
        consumer = await process.consumer()
        assert await _ids(consumer, 10, suspects=1) == ["a", "d", "e"]
        assert await _ids(consumer, 10, suspects=0) == []
        assert await process.counts() == NOTHING._replace(ready=2, running=3)
        other = await (await stage.process()).consumer()
        assert await _ids(other, 10, suspects=2) == ["b", "c"]

    async def test_who_dies_has_died_of_what_it_was_lent(self, stage: Stage, process: Process) -> None:
        """However soon a consumer dies, what it came across and was not lent has no crash of that."""
        await _suspects(stage, process, "abcd")
        killed = await process.consumer()
        (lent,) = await stage.outcome(stage.start(killed.fetch(LIMITS, 10)), "one suspect")
        await killed.fetch(LIMITS, 10, wait=False, suspects=0)
        assert await process.transport.release([killed.name]) == 1
        found = await stage.fetch(await (await stage.process()).consumer(), 4, suspects=4)
        assert {delivery.id: delivery.crashes for delivery in found} == {**dict.fromkeys("abcd", 2), lent.id: 3}

    async def test_suspects_that_may_not_be_lent_are_left_to_others(self, stage: Stage, process: Process) -> None:
        """Who may take one suspect gets one, wherever it stands, and all that is none; others get the rest."""
        await _suspects(stage, process, "abc")
        await process.publish_ids("d", "e")
        consumer = await process.consumer()
        lent: list[Delivery] = []
        while len(lent) < 3:
            may = int(all(delivery.crashes < SUSPECT_CRASHES for delivery in lent))
            fetching = stage.start(consumer.fetch(LIMITS, 3 - len(lent), suspects=may))
            lent += await stage.outcome(fetching, "one suspect and two that are none")
        assert sorted(delivery.crashes for delivery in lent) == [0, 0, SUSPECT_CRASHES]
        assert await _ids(consumer, 10, suspects=0) == []
        others = await stage.fetch_ids(await (await stage.process()).consumer(), 2)
        assert {*others, *(delivery.id for delivery in lent)} == {*"abcde"}

    async def test_one_suspect_is_lent_unless_it_says_otherwise(self, stage: Stage, process: Process) -> None:
        """A fetch that says nothing of suspects is lent one."""
        await _suspects(stage, process, "ab")
        consumer = await process.consumer()
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 10, wait=False)] == ["a"]

    @needs(keeps_place=True)
    async def test_suspects_are_counted_over_all_queues(self, stage: Stage, process: Process) -> None:
        """One suspect of two queues is lent: that of the queue which is asked first."""
        await _suspects(stage, process, "a")
        await _suspects(stage, process, "b", queue=OTHER_QUEUE)
        consumer = await process.consumer()
        deliveries = await consumer.fetch({OTHER_QUEUE: 5, QUEUE: 5}, 10, wait=False, suspects=1)
        assert [(delivery.id, delivery.crashes) for delivery in deliveries] == [("b", 2)]
        assert await _ids(consumer, 10, suspects=1) == ["a"]

    @needs(keeps_place=True)
    async def test_a_suspect_keeps_its_priority(self, stage: Stage, process: Process) -> None:
        """A suspect comes after what has a larger priority, and before what has a smaller one or came later."""
        await _suspects(stage, process, "b", priority=5)
        await process.publish_ids("d", priority=1)
        await process.publish_ids("c", priority=5)
        await process.publish_ids("a", priority=9)
        assert await stage.fetch_ids(await process.consumer(), 4) == ["a", "b", "c", "d"]

    @needs(keeps_place=True)
    async def test_a_limit_counts_suspects(self, stage: Stage, process: Process) -> None:
        """A suspect is one of those that the limits allow."""
        await _suspects(stage, process, "ab")
        await process.publish_ids("c")
        consumer = await process.consumer()
        deliveries = await consumer.fetch({QUEUE: 2}, 10, wait=False, suspects=1)
        assert [delivery.id for delivery in deliveries] == ["a", "c"]

    async def test_who_may_take_no_suspect_waits(self, stage: Stage, process: Process) -> None:
        """A fetch that may take none waits while only suspects are ready, and is woken by what it may take."""
        await _suspects(stage, process, "ab")
        consumer = await process.consumer()
        fetching = stage.start(consumer.fetch(LIMITS, 10, suspects=0))
        await stage.backend.pass_time(A_MOMENT)
        assert not fetching.done()
        await process.publish_ids("c")
        assert [delivery.id for delivery in await stage.outcome(fetching, "the plain message")] == ["c"]

    async def test_a_suspect_wakes_who_may_take_it(self, stage: Stage, process: Process) -> None:
        """Of two consumers that wait, the one that may take a suspect is woken when one comes free."""
        await process.publish_ids("a")
        await crash(stage, process, 1)
        dead = await process.consumer()
        await stage.fetch(dead, 1)
        busy = await (await stage.process()).consumer()
        idle = await (await stage.process()).consumer()
        in_vain = stage.start(busy.fetch(LIMITS, 10, suspects=0))
        fetching = stage.start(stage.fetch(idle, 1))
        await stage.backend.pass_time(A_MOMENT)
        died_ms = stage.backend.now_ms()
        assert await process.transport.release([dead.name]) == 1
        (delivery,) = await stage.outcome(fetching, "the suspect")
        assert (delivery.id, delivery.crashes) == ("a", 2)
        assert stage.backend.now_ms() - died_ms < SOON * 1000
        assert not in_vain.done()

    async def test_an_interrupt_ends_the_wait_of_who_may_take_none(self, stage: Stage, process: Process) -> None:
        """Who waits and may take no suspect is interrupted, and takes one with the next fetch."""
        await _suspects(stage, process, "a")
        consumer = await process.consumer()
        fetching = stage.start(consumer.fetch(LIMITS, 10, suspects=0))
        await stage.backend.pass_time(A_MOMENT)
        await consumer.interrupt()
        assert list(await stage.outcome(fetching, "the interrupted fetch")) == []
        assert await stage.fetch_ids(consumer, 1) == ["a"]

    async def test_a_suspect_stays_one(self, stage: Stage, process: Process) -> None:
        """Handed back or tried again, at once or later, it is a suspect still; ended and published anew it is none."""
        await _suspects(stage, process, "a")
        consumer = await process.consumer()
        for due_ms in (None, 0, process.transport.now_ms() + 200):
            (delivery,) = await stage.fetch(consumer, 1)
            assert delivery.crashes == 2
            settlement = Return(delivery) if due_ms is None else Again(delivery, b"retry", due_ms)
            assert await settle_one(consumer, settlement)

            async def is_ready() -> bool:
                return (await process.counts()).ready == 1

            await stage.until(is_ready, "the suspect to be ready")
            assert await _ids(consumer, 10, suspects=0) == []
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Done(delivery, Outcome(None)))
        await process.publish_ids("a")
        assert await _ids(consumer, 10, suspects=0) == ["a"]

    async def test_a_suspect_can_be_withdrawn(self, stage: Stage, process: Process) -> None:
        """A suspect that waits is withdrawn like anything that waits; published anew it is none."""
        await _suspects(stage, process, "ab")
        assert await process.transport.withdraw("a", QUEUE, Outcome(None))
        await process.expect_counts(ready=1)
        await process.publish_ids("a")
        ids = await stage.fetch_ids(await process.consumer(), 2)
        assert process.in_line(ids) == process.in_line(["b", "a"])

    async def test_a_crash_of_one_call(self, stage: Stage, process: Process) -> None:
        """`Return` of what died by itself hands it back in its place with one more crash; its neighbours have none."""
        await process.publish_ids("a", "b", "c")
        consumer = await process.consumer()
        a, b = await stage.fetch(consumer, 2)
        assert list(await consumer.settle([Return(a, is_crash=True), Return(b)])) == [True, True]
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.place, sighting.was_started) == (Place.READY, True)
        deliveries = await stage.fetch(consumer, 3)
        found = process.in_line((delivery.id, delivery.crashes) for delivery in deliveries)
        assert found == [("a", 1), ("b", 0), ("c", 0)]
        (a,) = (delivery for delivery in deliveries if delivery.id == "a")
        assert await settle_one(consumer, Return(a, is_crash=True))
        (again,) = await stage.fetch(consumer, 1)
        assert (again.id, again.crashes) == ("a", 2)


async def _suspects(stage: Stage, process: Process, ids: str, *, queue: str = QUEUE, priority: int = 0) -> None:
    """Publish messages that consumers die with until they are suspects."""
    await process.publish_ids(*ids, queue=queue, priority=priority)
    for _ in range(SUSPECT_CRASHES):
        await crash(stage, process, len(ids), queue)


async def crash(stage: Stage, process: Process, count: int, queue: str = QUEUE) -> None:
    """Let a consumer die with so many messages."""
    dead = await process.consumer()
    await stage.fetch(dead, count, {queue: count})
    assert await process.transport.release([dead.name]) == count


async def _ids(consumer: Consumer, count: int, *, suspects: int) -> list[str]:
    """Return the ids that one fetch brings at once."""
    fetched = await consumer.fetch({QUEUE: 10_000, OTHER_QUEUE: 10_000}, count, wait=False, suspects=suspects)
    return [delivery.id for delivery in fetched]
