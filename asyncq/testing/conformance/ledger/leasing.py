"""What a ledger's leases promise: who dies loses what it held, and nobody else does."""

import asyncio

from asyncq.ledger import Held
from asyncq.store import Place
from asyncq.testing.conformance.leasethread import LeaseThread
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import LEASE, OTHER_QUEUE, QUEUE, body_of, finish, settle_one
from asyncq.transport import Again, Return


class LeasingSuite(Suite):
    """Renewal, reclaim, release, leaving, members, and crashes that are counted and taken back."""

    async def test_a_renewed_lease_holds(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What a holder has is not reclaimed for many times the length of its lease, as long as it renews."""
        other = await stage.another()
        reclaimer = await other.lease_of(await other.holder(lease=LEASE * 2))
        holder = await process.holder(lease=LEASE)
        lease = await process.lease_of(holder)
        deliveries = await lend(holder, copy_of("a"))
        end_ms = process.ledger.now_ms() + LEASE * 3000
        while process.ledger.now_ms() < end_ms:
            assert await lease.renew()
            assert await reclaimer.renew()
            assert dict(await reclaimer.reclaim()) == {}
            await stage.backend.pass_time(LEASE / 10)
        await finish(holder, deliveries)

    async def test_what_a_dead_holder_had_is_reclaimed(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """It waits with one more crash, doubtful, and its copies are lent to others."""
        await process.note("a")
        dead = await stage.dead(process, copy_of("a"), copy_of("b"))
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place, sighting.was_started) == (body_of("a"), Place.READY, True)
        assert await process.running() == 0
        deliveries = await lend(await process.holder(), copy_of("a"), copy_of("b"), copy_of("c"))
        found = [(delivery.crashes, delivery.is_doubtful) for delivery in deliveries]
        assert found == [(1, True), (1, True), (0, False)]
        assert not await (await process.lease_of(dead)).renew()

    async def test_who_is_late_but_not_reclaimed_goes_on(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A lease that ran out is renewed all the same as long as nobody reclaimed it, and what it holds settles."""
        late = await process.holder(lease=LEASE)
        lease = await process.lease_of(late)
        deliveries = await lend(late, copy_of("a"))
        observer = await process.lease_of(await process.holder())

        async def has_run_out() -> bool:
            end = await observer.next_end()
            return end is not None and end <= 0

        await stage.until(has_run_out, "the lease to run out")
        assert await lease.renew()
        assert dict(await observer.reclaim()) == {}
        await finish(late, deliveries)

    async def test_the_next_end_is_the_earliest_of_the_others(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """`next_end` is None when alone, else the seconds left of the lease that runs out first."""
        alone = await process.lease_of(await process.holder(lease=50))
        assert await alone.next_end() is None
        await (await stage.another()).holder(lease=20)
        await process.holder(lease=10)
        end = await alone.next_end()
        assert end is not None
        assert 5 < end <= 10.1

    async def test_racing_reclaimers_share_what_there_is(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Two that reclaim at the same time count each call once, with one crash."""
        first = await process.lease_of(await process.holder())
        other = await stage.another()
        second = await other.lease_of(await other.holder())
        dead = await process.holder(lease=LEASE)
        copies = [copy_of(id) for id in "abcdef"]
        await lend(dead, *copies)

        async def has_run_out() -> bool:
            end = await first.next_end()
            return end is not None and end <= 0

        await stage.until(has_run_out, "the lease to run out")
        reclaimed = await asyncio.gather(first.reclaim(), second.reclaim(), first.reclaim(), second.reclaim())
        assert sum(counts.get(dead.name, 0) for counts in reclaimed) == 6
        assert [delivery.crashes for delivery in await lend(await process.holder(), *copies)] == [1] * 6

    async def test_a_dead_process_is_released_by_its_name(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """`release` takes over at once from a name and its successors `name.1`, and from nobody else; it is certain."""
        names = ["host-1", "host-1.1", "host-1.23", "host-10", "host-1x", "host-2"]
        copies = [copy_of(name) for name in names]
        for name, copy in zip(names, copies, strict=True):
            await lend(await process.holder(name), copy)
        assert await (await stage.another()).ledger.release(["host-1", "unknown"]) == 3
        assert await process.running() == 3
        verdicts = await (await process.holder()).take(copies)
        assert [None if isinstance(each, Held) else each and each[1:3] for each in verdicts] == [(1, False)] * 3 + [
            None
        ] * 3
        assert await process.ledger.release(["host-1"]) == 0

    async def test_who_leaves_lets_go_unharmed(self, process: LedgerProcess) -> None:
        """`leave` lets go of what is held with no crash on its count, ends the membership, and leaves no orphan."""
        leaving = await process.holder()
        lease = await process.lease_of(leaving)
        await lend(leaving, copy_of("a"), copy_of("b"))
        assert await leaving.leave() == 2
        assert await leaving.leave() == 0
        assert not await lease.renew()
        assert await process.orphans() == []
        deliveries = await lend(await process.holder(), copy_of("a"), copy_of("b"))
        assert [delivery.crashes for delivery in deliveries] == [0, 0]

    async def test_who_did_not_die_takes_its_crashes_back(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A holder that was reclaimed and lives absolves what it held, waiting or running elsewhere, and once."""
        late = await stage.dead(process, copy_of("a"), copy_of("b", queue=OTHER_QUEUE), copy_of("c"))
        holder = await process.holder()
        c = await lend_one(holder, copy_of("c"))
        assert (c.crashes, c.is_doubtful) == (1, True)
        await late.absolve()
        await late.absolve()
        assert await settle_one(holder, Return(c))
        copies = [copy_of("a"), copy_of("b", queue=OTHER_QUEUE), copy_of("c")]
        deliveries = await lend(holder, *copies)
        assert [(delivery.crashes, delivery.is_doubtful) for delivery in deliveries] == [(0, False)] * 3

    async def test_only_ones_own_death_is_taken_back(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A crash that another's death has counted, before or since, stays; so does one that is certain."""
        certain = await process.holder()
        await lend(certain, copy_of("a"))
        assert await process.ledger.release([certain.name]) == 1
        late = await stage.dead(process, copy_of("a"))
        other = await stage.dead(process, copy_of("a"))
        for each, crashes in ((late, 2), (certain, 2), (other, 1)):
            await each.absolve()
            holder = await process.holder()
            delivery = await lend_one(holder, copy_of("a"))
            assert delivery.crashes == crashes
            assert await settle_one(holder, Return(delivery))

    async def test_crashes_survive_the_next_attempt(self, process: LedgerProcess) -> None:
        """A suspect that is tried again, handed back, or left behind is a suspect still."""
        for _ in range(2):
            dead = await process.holder()
            await lend(dead, copy_of("a"))
            assert await process.ledger.release([dead.name]) == 1
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert delivery.crashes == 2
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        delivery = await lend_one(holder, copy_of("a", 1, body=b"retry"))
        assert delivery.crashes == 2
        await holder.leave()
        other = await process.holder()
        assert (await lend_one(other, copy_of("a", 2, body=b"retry"))).crashes == 2

    async def test_members_are_seen_with_what_they_tell(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A holder is seen from its joining to its leaving, with its queues, its lease, and what it told last."""
        holder = await process.holder("worker-b", lease=60)
        await process.holder("worker-a", [OTHER_QUEUE])
        lease = await process.lease_of(holder)
        assert await lease.renew(b"\x00about")
        assert await lease.renew()
        other = await stage.another()
        a, b = await other.ledger.members()
        assert (a.name, list(a.queues), a.about) == ("worker-a", [OTHER_QUEUE], b"")
        assert (b.name, sorted(b.queues), b.about) == ("worker-b", [QUEUE, OTHER_QUEUE], b"\x00about")
        assert 0 < b.lease_end_ms - process.ledger.now_ms() <= 61_000
        await holder.leave()
        assert [member.name for member in await other.ledger.members()] == ["worker-a"]

    async def test_a_closed_ledger_leaves_its_holders(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What a holder has whose process has closed its ledger stays lent until its lease has run out."""
        closing = await stage.another()
        held = await closing.holder(lease=LEASE)
        await lend(held, copy_of("a"))
        await closing.close()
        assert isinstance(await take(await process.holder(), copy_of("a")), Held)
        reclaimer = await process.lease_of(await process.holder(lease=LEASE * 2))
        assert await stage.lapse(held.name, reclaimer) == 1

    async def test_a_closed_lease_stays_as_it_is(self, process: LedgerProcess) -> None:
        """Closing a lease frees its thread only: the holder is a member, and settles."""
        holder = await process.holder()
        deliveries = await lend(holder, copy_of("a"))
        thread = LeaseThread(holder.lease())
        assert await thread.renew()
        await thread.close()
        await finish(holder, deliveries)
