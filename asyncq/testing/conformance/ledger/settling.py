"""What a ledger's settling promises: a call ends, or goes on, as who has it says, and nobody else."""

import pytest

from asyncq.ledger import next_life
from asyncq.store import CallKey, Place
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.settling import KINDS, settlement_of
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    MINUTE_MS,
    NOT_KEPT,
    RECORD,
    body_of,
    finish,
    settle_one,
)
from asyncq.transport import Again, Dead, Done, Envelope, Outcome, Return

REASON = "It failed for good."


class SettlingSuite(Suite):
    """Done, Dead, Again and Return, each once and fenced by the token."""

    @pytest.mark.parametrize("kind", ["done", "dead"])
    async def test_the_end_is_kept_and_told(self, stage: LedgerStage, process: LedgerProcess, kind: str) -> None:
        """The record is found, and told to the process that published as well as to those who watch."""
        publisher, watcher = await stage.another(), await stage.another()
        reply = await publisher.listen()
        await process.note("a")
        assert await watcher.look("a", watcher=await watcher.listen())
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        outcome = Outcome(RECORD, MINUTE_MS, reply)
        end = Done(delivery, outcome) if kind == "done" else Dead(delivery, outcome, REASON, MINUTE_MS)
        assert await settle_one(holder, end)
        assert await process.record_of("a") == RECORD
        for told in (publisher, watcher):
            assert (await told.end_of("a")).record in {RECORD, None}
        assert await process.running() == 0

    async def test_an_end_without_a_record_is_told(self, process: LedgerProcess) -> None:
        """The call is unknown afterwards, its letter's record is not kept either, and who waits is told."""
        reply = await process.listen()
        holder = await process.holder()
        a, b = await lend(holder, copy_of("a"), copy_of("b"))
        outcome = Outcome(None, reply=reply)
        settlements = [Done(a, outcome), Dead(b, outcome, REASON, MINUTE_MS, record=RECORD)]
        assert list(await holder.settle(settlements)) == [True, True]
        for id in ("a", "b"):
            assert await process.look(id) is None
            assert (await process.end_of(id)).record is None

    async def test_what_follows_is_the_transports(self, process: LedgerProcess) -> None:
        """The ledger does not know what a settlement publishes until it is noted, or comes."""
        holder = await process.holder()
        a, b = await lend(holder, copy_of("a"), copy_of("b"))
        then = [Envelope("next", "mail", b"1")]
        settlements = [Done(a, KEPT, then), Dead(b, KEPT, REASON, MINUTE_MS, then)]
        assert list(await holder.settle(settlements)) == [True, True]
        assert await process.look("next") is None

    async def test_again_leaves_the_next_attempt(self, process: LedgerProcess) -> None:
        """The call waits with its new body, scheduled until it is due, and runs under a new token, with its crashes."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Return(delivery, is_crash=True))
        first = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Again(first, b"retry", process.ledger.now_ms() + MINUTE_MS))
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (b"retry", Place.SCHEDULED)
        assert await process.running() == 0
        second = await lend_one(holder, copy_of("a", 1, body=b"retry"))
        assert second.token != first.token
        assert second.crashes == 1

    async def test_again_at_once_is_ready(self, process: LedgerProcess) -> None:
        """A next attempt that is due already is seen as ready."""
        holder = await process.holder()
        assert await settle_one(holder, Again(await lend_one(holder, copy_of("a")), b"retry", 0))
        assert await process.place_of("a") is Place.READY

    async def test_every_again_is_a_generation(self, process: LedgerProcess) -> None:
        """The copies of each attempt are told from those of the one before."""
        holder = await process.holder()
        for generation in range(4):
            copy = copy_of("a", generation)
            delivery = await lend_one(holder, copy)
            assert await settle_one(holder, Again(delivery, body_of("a"), 0))
            assert await take(holder, copy) is None

    async def test_a_returned_call_is_unharmed(self, process: LedgerProcess) -> None:
        """The call waits as it was, and the same copy is lent again under a new token."""
        holder = await process.holder()
        first = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Return(first))
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place, sighting.was_started) == (body_of("a"), Place.READY, False)
        assert await process.orphans() == []
        second = await lend_one(holder, copy_of("a"))
        assert second.token != first.token
        assert second.crashes == 0

    async def test_a_crash_of_one_call(self, process: LedgerProcess) -> None:
        """What died by itself is handed back with one more crash, certain; its neighbour has none."""
        holder = await process.holder()
        a, b = await lend(holder, copy_of("a"), copy_of("b"))
        assert list(await holder.settle([Return(a, is_crash=True), Return(b)])) == [True, True]
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.was_started
        again = await lend(holder, copy_of("a"), copy_of("b"))
        assert [(delivery.crashes, delivery.is_doubtful) for delivery in again] == [(1, False), (0, False)]

    async def test_progress_goes_with_the_call(self, process: LedgerProcess) -> None:
        """What a running call reports is seen and told, and nothing of it is left in the next life of its id."""
        await process.note("a")
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        reply = await process.listen()
        await process.store.report(CallKey("a", "mail"), b"half", reply=reply, ttl_ms=MINUTE_MS)
        await process.progress_of("a", b"half")
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.progress == b"half"
        await finish(holder, [delivery], NOT_KEPT)
        await process.store.report(CallKey("a", "mail"), b"late", reply=reply, ttl_ms=MINUTE_MS)
        assert await process.look("a") is None
        await lend(holder, copy_of("a", next_life(0)))
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.progress is None

    async def test_a_batch_is_settled_in_order_and_each_by_itself(self, process: LedgerProcess) -> None:
        """One call may hold all kinds, an outdated one, and one twice: each answer is its own."""
        holder = await process.holder()
        *deliveries, old = await lend(holder, *map(copy_of, [*KINDS, "old"]))
        await finish(holder, [old])
        settlements = [settlement_of(kind, delivery) for kind, delivery in zip(KINDS, deliveries, strict=True)]
        settlements += [Done(old, KEPT), Done(deliveries[0], KEPT)]
        assert list(await holder.settle(settlements)) == [True, True, True, True, False, False]
        assert await process.running() == 0
        assert list(await holder.settle([])) == []

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_settlement_takes_effect_once(self, process: LedgerProcess, kind: str) -> None:
        """The same settlement sent again returns False, and everything stands as the first one left it."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, settlement_of(kind, delivery))
        before = await process.look("a")
        for again in (settlement_of(kind, delivery), Done(delivery, Outcome(b"another", MINUTE_MS))):
            assert not await settle_one(holder, again)
        assert await process.look("a") == before

    @pytest.mark.parametrize("kind", KINDS)
    async def test_an_older_token_settles_nothing(self, process: LedgerProcess, kind: str) -> None:
        """A lending that was handed back, and repeated with the same holder, is settled by its new token only."""
        holder = await process.holder()
        old = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Return(old))
        new = await lend_one(holder, copy_of("a"))
        assert not await settle_one(holder, settlement_of(kind, old))
        assert await process.place_of("a") is Place.RUNNING
        assert await settle_one(holder, settlement_of(kind, new))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_nobody_settles_what_another_holds(self, process: LedgerProcess, kind: str) -> None:
        """A call in the hands of another can't be settled, its token notwithstanding."""
        holder, other = await process.holder(), await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert not await settle_one(other, settlement_of(kind, delivery))
        assert await process.place_of("a") is Place.RUNNING
        assert await settle_one(holder, settlement_of(kind, delivery))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("loss", ["reclaimed", "released", "left"])
    async def test_what_a_zombie_settles_has_no_effect(
        self, stage: LedgerStage, process: LedgerProcess, kind: str, loss: str
    ) -> None:
        """After a loss nothing that a holder settles takes effect, before and after another was lent the call."""
        zombie = await process.holder(lease=LEASE if loss == "reclaimed" else 60)
        delivery = await lend_one(zombie, copy_of("a"))
        if loss == "reclaimed":
            assert await stage.outlive(zombie) == 1
        elif loss == "released":
            assert await process.ledger.release([zombie.name]) == 1
        else:
            assert await zombie.leave() == 1
        assert not await settle_one(zombie, settlement_of(kind, delivery))
        assert await process.place_of("a") is Place.READY
        other = await process.holder()
        again = await lend_one(other, copy_of("a"))
        assert not await settle_one(zombie, settlement_of(kind, delivery))
        assert await process.place_of("a") is Place.RUNNING
        await finish(other, [again])
        assert not await settle_one(zombie, settlement_of(kind, delivery))
        assert await process.record_of("a") == RECORD
