"""What is promised where nothing is remembered: what remains true, and what is refused."""

import pytest

from asyncq.errors import NotSupported
from asyncq.store import CallKey, Notice
from asyncq.testing.conformance.burying import REASON
from asyncq.testing.conformance.settling import KINDS, NOTHING, settlement_of
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    MINUTE_MS,
    QUEUE,
    RECORD,
    Process,
    Stage,
    body_of,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import SUSPECT_CRASHES, Again, Dead, Done, Envelope, Outcome


@needs(has_memory=False)
class ForgettingSuite(Suite):
    """A transport without a memory."""

    async def test_what_needs_a_memory_is_refused(self, stage: Stage, process: Process) -> None:
        """Nothing can be withdrawn: that is an error which names what to add, and leaves all as it is."""
        await process.publish_ids("a")
        with pytest.raises(NotSupported):
            await process.transport.withdraw("a", QUEUE, KEPT)
        assert await stage.fetch_ids(await process.consumer(), 1) == ["a"]

    async def test_an_id_is_no_more_than_a_name(self, stage: Stage, process: Process) -> None:
        """What is published twice is there twice, each to be settled by itself."""
        await process.publish_ids("a", "a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 2))
        assert await process.counts() == NOTHING

    async def test_nobody_is_a_member(self, process: Process) -> None:
        """Consumers are not seen, and there is nothing to release."""
        consumer = await process.consumer()
        assert list(await process.transport.members()) == []
        assert await process.transport.release([consumer.name]) == 0
        await consumer.absolve()

    async def test_a_lease_never_runs_out(self, stage: Stage, process: Process) -> None:
        """A lease is renewed by doing nothing, and nobody takes over from who does not renew it."""
        await process.publish_ids("a")
        consumer = await process.consumer(lease=LEASE)
        deliveries = await stage.fetch(consumer, 1)
        lease = await process.lease_of(await process.consumer(lease=LEASE))
        await stage.backend.pass_time(2 * LEASE)
        assert await lease.renew(b"about")
        assert await lease.next_end() is None
        assert dict(await lease.reclaim()) == {}
        await finish(consumer, deliveries)

    async def test_what_a_lost_connection_held_comes_again(self, stage: Stage, process: Process) -> None:
        """What a process held whose connection is gone is fetched by others, with one more crash on its count."""
        await process.publish_ids("a", "b", "c")
        lost = await stage.process()
        await stage.fetch(await lost.consumer(), 2)
        await lost.close()
        deliveries = await stage.fetch(await process.consumer(), 3)
        assert {(delivery.id, delivery.body, delivery.crashes) for delivery in deliveries} == {
            ("a", body_of("a"), 1),
            ("b", body_of("b"), 1),
            ("c", body_of("c"), 0),
        }

    async def test_what_a_lost_connection_held_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """A consumer that waits gets what the lost one held."""
        await process.publish_ids("a")
        lost = await stage.process()
        await stage.fetch(await lost.consumer(), 1)
        fetching = stage.start(stage.fetch(await process.consumer(), 1))
        await lost.close()
        assert [delivery.id for delivery in await stage.outcome(fetching, "what was lost")] == ["a"]

    async def test_crashes_stay_counted(self, stage: Stage, process: Process) -> None:
        """A message keeps its crashes through a hand-back and a next attempt, and is a suspect after the second."""
        await process.publish_ids("a")
        for _ in range(SUSPECT_CRASHES):
            lost = await stage.process()
            await stage.fetch(await lost.consumer(), 1)
            await lost.close()
        consumer = await process.consumer()
        for kind in ("return", "again"):
            (delivery,) = await stage.fetch(consumer, 1)
            assert delivery.crashes == SUSPECT_CRASHES
            assert await settle_one(consumer, settlement_of(kind, delivery))
        await process.publish_ids("innocent")
        assert [each.id for each in await consumer.fetch({QUEUE: 1}, 1, suspects=0)] == ["innocent"]
        (delivery,) = await stage.fetch(consumer, 1)
        assert delivery.crashes == SUSPECT_CRASHES

    @pytest.mark.parametrize("kind", KINDS)
    async def test_who_has_left_settles_nothing(self, stage: Stage, process: Process, kind: str) -> None:
        """What was handed back by leaving is fetched by others unharmed, and no settlement of the old one counts."""
        await process.publish_ids("a")
        leaving = await process.consumer()
        (delivery,) = await stage.fetch(leaving, 1)
        assert await leaving.leave() == 1
        assert not await settle_one(leaving, settlement_of(kind, delivery))
        consumer = await process.consumer()
        (again,) = await stage.fetch(consumer, 1)
        assert again._replace(token=delivery.token) == delivery
        await finish(consumer, [again])
        assert await process.counts() == NOTHING


@needs(has_memory=False)
class RepliesSuite(Suite):
    """A store without a memory: it is told, and cannot be asked."""

    async def test_a_new_reply_queue_is_said(self, process: Process) -> None:
        """Who begins to listen where no reply queue was left is told so, at once: nothing told before can arrive."""
        assert await process.listen()
        assert process.resyncs == 1

    async def test_nothing_is_looked_up(self, process: Process) -> None:
        """Looking, watching and keeping progress are refused."""
        reply = await process.listen()
        key = CallKey("a", QUEUE)
        with pytest.raises(NotSupported):
            await process.store.look([key])
        with pytest.raises(NotSupported):
            await process.store.unwatch([key], reply)
        with pytest.raises(NotSupported):
            await process.store.report(key, b"1 of 2", reply=reply, ttl_ms=MINUTE_MS)

    @pytest.mark.parametrize("size", [0, 5_000, 1_000_000])
    async def test_a_record_is_told_whole(self, stage: Stage, process: Process, size: int) -> None:
        """The publisher is told the whole record, however large: there is nowhere else to find it."""
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await (await stage.process()).consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(b"x" * size, MINUTE_MS, reply))
        assert await process.end_of("a") == Notice("a", record=b"x" * size, is_over=True)

    async def test_each_end_is_told_once(self, stage: Stage, process: Process) -> None:
        """A next attempt is no end, a death is one, and what is settled again is not told again."""
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(first, b"retry", 0))
        (second,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Dead(second, Outcome(RECORD, MINUTE_MS, reply), REASON, MINUTE_MS))
        assert not await settle_one(consumer, Done(second, Outcome(b"another", MINUTE_MS, reply)))
        await process.end_of("a")
        await process.publish(Envelope("last", QUEUE, b""))
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(None, reply=reply))
        await process.end_of("last")
        assert process.notices["a"] == [Notice("a", record=RECORD, is_over=True)]

    async def test_nobody_is_told_in_vain(self, stage: Stage, process: Process) -> None:
        """An address that nobody has, or none, is no trouble to who tells it."""
        await process.publish_ids("a", "b")
        consumer = await process.consumer()
        a, b = await stage.fetch(consumer, 2)
        await finish(consumer, [a], Outcome(RECORD, MINUTE_MS, "nobody"))
        await finish(consumer, [b], KEPT)
        assert await process.counts() == NOTHING
