"""What leases promise: who dies loses what it held, and nobody else does."""

import asyncio

import pytest

from asyncq.errors import LeaseLost
from asyncq.store import Place
from asyncq.testing.conformance.settling import KINDS, NOTHING, settlement_of
from asyncq.testing.conformance.stage import (
    LEASE,
    LIMITS,
    QUEUE,
    RECORD,
    LeaseThread,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Consumer, Return


class LeasingSuite(Suite):
    """Renewal, reclaim, release, leaving, and the fence."""

    @needs(has_memory=True)
    async def test_a_renewed_lease_holds(self, stage: Stage, process: Process) -> None:
        """What a consumer holds is not reclaimed for many times the length of its lease, as long as it renews."""
        consumer, lease, reclaimer = await _holder_and_reclaimer(stage, process)
        deliveries = await stage.fetch(consumer, 1)
        end_ms = process.transport.now_ms() + LEASE * 3000
        while process.transport.now_ms() < end_ms:
            assert await lease.renew()
            assert await reclaimer.renew()
            assert dict(await reclaimer.reclaim()) == {}
            await stage.backend.pass_time(LEASE / 10)
        await finish(consumer, deliveries)

    @needs(has_memory=True)
    async def test_what_a_dead_consumer_held_is_reclaimed(self, stage: Stage, process: Process) -> None:
        """When a lease has run out others get its messages, in their old place, with one more crash on their count."""
        dead, _, reclaimer = await _holder_and_reclaimer(stage, process, ids="abc")
        await stage.fetch(dead, 2)
        await process.publish_ids("d")
        assert await stage.lapse(dead.name, reclaimer) == 2
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.place, sighting.was_started) == (Place.READY, True)
        deliveries = await stage.fetch(await process.consumer(), 4)
        found = process.in_line((delivery.id, delivery.crashes) for delivery in deliveries)
        assert found == [("a", 1), ("b", 1), ("c", 0), ("d", 0)]
        assert dict(await reclaimer.reclaim()) == {}

    @needs(has_memory=True)
    async def test_a_reclaim_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """A consumer that waits in another process gets what is reclaimed."""
        dead, _, reclaimer = await _holder_and_reclaimer(stage, process)
        await stage.fetch(dead, 1)
        other = await (await stage.process()).consumer()
        fetching = stage.start(stage.fetch(other, 1))
        assert await stage.lapse(dead.name, reclaimer) == 1
        assert [delivery.id for delivery in await stage.outcome(fetching, "the reclaimed message")] == ["a"]

    @needs(has_memory=True)
    async def test_every_crash_counts(self, stage: Stage, process: Process) -> None:
        """A message that two consumers died with has two crashes, and a hand-back between them adds none."""
        await process.publish_ids("a")
        for crashes in range(2):
            dead = await process.consumer()
            (delivery,) = await stage.fetch(dead, 1)
            assert delivery.crashes == crashes
            assert await settle_one(dead, Return(delivery))
            await stage.fetch(dead, 1)
            assert await process.transport.release([dead.name]) == 1
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        assert delivery.crashes == 2

    @needs(has_memory=True)
    async def test_who_was_reclaimed_is_out(self, stage: Stage, process: Process) -> None:
        """A reclaimed consumer can't renew, and fetching raises LeaseLost; under a new name it may go on."""
        dead, lease, reclaimer = await _holder_and_reclaimer(stage, process)
        await stage.fetch(dead, 1)
        await stage.lapse(dead.name, reclaimer)
        assert not await lease.renew()
        assert not await lease.renew()
        with pytest.raises(LeaseLost):
            await dead.fetch(LIMITS, 1, wait=False)
        with pytest.raises(LeaseLost):
            await dead.fetch(LIMITS, 1)
        assert await stage.fetch_ids(await process.consumer(), 1) == ["a"]

    @needs(has_memory=True)
    async def test_a_reclaimed_consumers_waiting_fetch_takes_nothing_away(self, stage: Stage, process: Process) -> None:
        """What is published while a reclaimed consumer still waits in `fetch` is fetched by the living."""
        dead, _, reclaimer = await _holder_and_reclaimer(stage, process, ids="")
        fetching = stage.start(_fetch_for_ever(dead))
        await stage.lapse(dead.name, reclaimer)
        await process.publish_ids("a", "b")
        alive = await process.consumer()
        lease = await process.lease_of(alive)
        found: list[str] = []

        async def are_both_found() -> bool:
            await lease.reclaim()
            found.extend(delivery.id for delivery in await alive.fetch(LIMITS, 10, wait=False))
            return sorted(found) == ["a", "b"]

        await stage.until(are_both_found, "both messages to reach the living consumer")
        with pytest.raises(LeaseLost):
            await stage.outcome(fetching, "the fetch of a reclaimed consumer to end")

    @needs(has_memory=True)
    async def test_who_is_late_but_not_reclaimed_goes_on(self, stage: Stage, process: Process) -> None:
        """A lease that ran out is renewed all the same as long as nobody reclaimed it, and its deliveries settle."""
        late, lease, reclaimer = await _holder_and_reclaimer(stage, process, ids="ab")
        first, second = await stage.fetch(late, 2)
        await _until_run_out(stage, reclaimer)
        await finish(late, [first])
        assert await lease.renew()
        assert dict(await reclaimer.reclaim()) == {}
        await finish(late, [second])

    @needs(has_memory=True)
    async def test_the_next_end_is_the_earliest_of_the_others(self, stage: Stage, process: Process) -> None:
        """`next_end` is None when alone, else the seconds left of the lease that runs out first."""
        alone = await process.lease_of(await process.consumer(lease=50))
        assert await alone.next_end() is None
        other = await (await stage.process()).consumer(lease=20)
        end = await alone.next_end()
        assert end is not None
        assert 10 < end <= 20.1
        await process.consumer(lease=10)
        end = await alone.next_end()
        assert end is not None
        assert 5 < end <= 10.1
        end = await (await process.lease_of(other)).next_end()
        assert end is not None
        assert 5 < end <= 10.1

    @needs(has_memory=True)
    async def test_racing_reclaimers_share_what_there_is(self, stage: Stage, process: Process) -> None:
        """Two that reclaim at the same time count each message once, and each is fetched once."""
        dead, _, first = await _holder_and_reclaimer(stage, process, ids="abcdef")
        await stage.fetch(dead, 6)
        other = await stage.process()
        second = await other.lease_of(await other.consumer(lease=60))
        await _until_run_out(stage, first)
        reclaimed = await asyncio.gather(first.reclaim(), second.reclaim(), first.reclaim(), second.reclaim())
        assert sum(counts.get(dead.name, 0) for counts in reclaimed) == 6
        deliveries = await stage.fetch(await process.consumer(), 6)
        found = process.in_line((delivery.id, delivery.crashes) for delivery in deliveries)
        assert found == [(id, 1) for id in "abcdef"]
        await process.expect_counts(running=6)

    @needs(has_memory=True)
    async def test_who_leaves_hands_back_unharmed(self, stage: Stage, process: Process) -> None:
        """`leave` returns what is held to its old place with no crash on its count, and ends the membership."""
        await process.publish_ids(*"abc")
        leaving = await process.consumer()
        lease = await process.lease_of(leaving)
        other = await process.consumer()
        await stage.fetch(leaving, 2)
        assert await leaving.leave() == 2
        assert not await lease.renew()
        assert await (await process.lease_of(other)).next_end() is None
        deliveries = await stage.fetch(other, 3)
        found = process.in_line((delivery.id, delivery.crashes) for delivery in deliveries)
        assert found == [("a", 0), ("b", 0), ("c", 0)]

    async def test_leaving_with_nothing_in_hand_returns_nothing(self, process: Process) -> None:
        """Who holds nothing hands back nothing, also the second time."""
        consumer = await process.consumer()
        assert await consumer.leave() == 0
        assert await consumer.leave() == 0

    @needs(has_memory=True)
    async def test_a_dead_process_is_released_by_its_name(self, stage: Stage, process: Process) -> None:
        """`release` takes over at once from a name and its successors `name.1`, and from nobody else."""
        names = ["host-1", "host-1.1", "host-1.23", "host-10", "host-1x", "host-2"]
        await process.publish_ids(*"abcdef")
        for name in names:
            await stage.fetch(await process.consumer(name), 1)
        assert await (await stage.process()).transport.release(["host-1", "unknown"]) == 3
        assert await process.counts() == NOTHING._replace(ready=3, running=3)
        deliveries = await stage.fetch(await process.consumer(), 3)
        assert [(delivery.id, delivery.crashes) for delivery in deliveries] == [("a", 1), ("b", 1), ("c", 1)]
        assert await process.transport.release(["host-1"]) == 0

    @needs(has_memory=True)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("loss", ["reclaimed", "released", "left"])
    async def test_the_fence(self, stage: Stage, process: Process, kind: str, loss: str) -> None:
        """After a loss nothing that the consumer settles takes effect, before and after another fetched it."""
        loser, _, reclaimer = await _holder_and_reclaimer(stage, process)
        (delivery,) = await stage.fetch(loser, 1)
        if loss == "reclaimed":
            await stage.lapse(loser.name, reclaimer)
        elif loss == "released":
            assert await process.transport.release([loser.name]) == 1
        else:
            assert await loser.leave() == 1
        assert not await settle_one(loser, settlement_of(kind, delivery))
        await process.expect_counts(ready=1)
        other = await process.consumer()
        (again,) = await stage.fetch(other, 1)
        assert not await settle_one(loser, settlement_of(kind, delivery))
        await process.expect_counts(running=1)
        assert again._replace(token="", crashes=0, is_doubtful=False) == delivery._replace(token="")
        await finish(other, [again])
        assert not await settle_one(loser, settlement_of(kind, delivery))
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.record == RECORD

    async def test_a_closed_lease_stays_as_it_is(self, stage: Stage, process: Process) -> None:
        """Closing a lease frees its thread only: the consumer is a member, and settles."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 1)
        thread = LeaseThread(consumer.lease())
        assert await thread.renew()
        await thread.close()
        await finish(consumer, deliveries)

    @needs(has_memory=True)
    async def test_a_closed_transport_leaves_its_consumers(self, stage: Stage, process: Process) -> None:
        """What a consumer holds whose process has closed its transport stays lent until its lease has run out."""
        await process.publish_ids("a")
        closing = await stage.process()
        held = await closing.consumer(lease=LEASE)
        await stage.fetch(held, 1)
        await closing.close()
        await process.expect_counts(running=1)
        reclaimer = await process.lease_of(await process.consumer(lease=LEASE * 2))
        assert await stage.lapse(held.name, reclaimer) == 1


async def _holder_and_reclaimer(
    stage: Stage, process: Process, *, ids: str = "a"
) -> tuple[Consumer, LeaseThread, LeaseThread]:
    """Publish messages, and return a consumer with a short lease, its lease, and another one's in another process."""
    if ids:
        await process.publish_ids(*ids)
    other = await stage.process()
    reclaimer = await other.lease_of(await other.consumer(lease=LEASE * 2))
    holder = await process.consumer(lease=LEASE)
    return holder, await process.lease_of(holder), reclaimer


async def _until_run_out(stage: Stage, observer: LeaseThread) -> None:
    async def has_run_out() -> bool:
        assert await observer.renew()
        end = await observer.next_end()
        return end is not None and end <= 0

    await stage.until(has_run_out, "a lease to run out")


async def _fetch_for_ever(consumer: Consumer) -> None:
    while True:
        assert list(await consumer.fetch({QUEUE: 10}, 10)) == []
