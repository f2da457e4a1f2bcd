"""What taking promises: of all copies of a message one runs."""

import asyncio

import pytest

from asyncq.errors import LeaseLost
from asyncq.ledger import Holder, Lent, Verdict, next_attempt, next_life
from asyncq.store import Place
from asyncq.testing.conformance.ledger.stage import (
    LedgerProcess,
    LedgerStage,
    copy_of,
    end_of_hold,
    lend,
    lend_one,
    take,
)
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    MINUTE_MS,
    NOT_KEPT,
    QUEUE,
    RECORD,
    body_of,
    finish,
    settle_one,
)
from asyncq.transport import Again, Dead, Done, Outcome, Return
from asyncq.turns import pass_turns


class TakingSuite(Suite):
    """Verdicts."""

    async def test_a_noted_call_is_lent(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """It runs from then on, for all to see, and no crash is behind it."""
        await process.note("a")
        delivery = await lend_one(await process.holder(), copy_of("a"))
        assert (delivery.crashes, delivery.is_doubtful) == (0, False)
        other = await stage.another()
        sighting = await other.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (body_of("a"), Place.RUNNING)
        assert await other.running() == 1

    async def test_an_unknown_call_is_lent(self, process: LedgerProcess) -> None:
        """What the ledger has not heard of is lent and known from then on, whatever its generation."""
        holder = await process.holder()
        _, old = await lend(holder, copy_of("new"), copy_of("old", 3, body=b"retry", priority=4))
        sighting = await process.look("old")
        assert sighting is not None
        assert (sighting.queue, sighting.body, sighting.place) == (QUEUE, b"retry", Place.RUNNING)
        assert await settle_one(holder, Return(old))
        assert await take(holder, copy_of("old", 2)) is None

    async def test_a_call_is_lent_once(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of two holders that take the same fifty copies at once one gets each, and the other finds it held."""
        ids = [str(n) for n in range(50)]
        await process.note(*ids[:25])
        first, second = await process.holder(lease=50), await (await stage.another()).holder(lease=50)
        ours, theirs = await asyncio.gather(_take_each(first, ids), _take_each(second, ids[::-1]))
        now_ms = process.ledger.now_ms()
        for own, other in zip(ours, reversed(theirs), strict=True):
            lent, held = (own, other) if isinstance(own, Lent) else (other, own)
            assert isinstance(lent, Lent)
            assert 0 < end_of_hold(held) - now_ms <= 51_000
        assert await process.running() == 50

    async def test_ones_own_is_held_as_well(self, process: LedgerProcess) -> None:
        """A second copy of what a holder runs is held by itself, also in the same batch."""
        holder = await process.holder()
        lent, held = await holder.take([copy_of("a"), copy_of("a")])
        assert isinstance(lent, Lent)
        assert end_of_hold(held) > process.ledger.now_ms()
        assert end_of_hold(await take(holder, copy_of("a"))) > process.ledger.now_ms()
        assert await process.running() == 1

    async def test_each_lending_has_a_token_of_its_own(self, process: LedgerProcess) -> None:
        """No two lendings have the same token, not even of the same call to the same holder."""
        holder = await process.holder()
        deliveries = await lend(holder, copy_of("a"), copy_of("b"))
        assert await settle_one(holder, Return(deliveries[0]))
        deliveries += await lend(holder, copy_of("a"))
        assert len({delivery.token for delivery in deliveries}) == 3

    async def test_what_a_late_holder_has_is_held(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A lease that ran out holds until it is reclaimed: its end is past, and its holder settles."""
        late = await process.holder(lease=LEASE)
        deliveries = await lend(late, copy_of("a"))
        other = await process.holder()

        async def is_over() -> bool:
            return end_of_hold(await take(other, copy_of("a"))) <= process.ledger.now_ms()

        await stage.until(is_over, "the lease to run out")
        await finish(late, deliveries)
        assert await take(other, copy_of("a")) is None

    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT], ids=["kept", "not kept"])
    @pytest.mark.parametrize("end", ["done", "dead", "withdrawn"])
    async def test_what_has_ended_is_not_wanted(
        self, stage: LedgerStage, process: LedgerProcess, end: str, outcome: Outcome
    ) -> None:
        """Copies of a call that has ended are not lent, whether or not its result is kept."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        if end == "done":
            assert await settle_one(holder, Done(delivery, outcome))
        elif end == "dead":
            assert await settle_one(holder, Dead(delivery, outcome, "It failed.", MINUTE_MS))
        else:
            assert await process.ledger.withdraw("a", QUEUE, outcome, even_running=True)
        other = await (await stage.another()).holder()
        for each in (holder, other):
            assert await take(each, copy_of("a")) is None
        assert await process.running() == 0
        assert await process.record_of("a") == outcome.record

    async def test_an_end_is_remembered_for_longer_than_its_result(
        self, stage: LedgerStage, process: LedgerProcess
    ) -> None:
        """When a result's time is over a copy that comes late is not wanted all the same."""
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), Outcome(RECORD, 100))

        async def is_over() -> bool:
            return await process.look("a") is None

        await stage.until(is_over, "the result to expire")
        assert await take(holder, copy_of("a")) is None

    async def test_an_older_generation_is_not_wanted(self, process: LedgerProcess) -> None:
        """When a call was sent on its older copies are not lent, neither while it waits nor while it runs."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        assert await take(holder, copy_of("a")) is None
        await lend(holder, copy_of("a", 1, body=b"retry"))
        assert await take(holder, copy_of("a")) is None

    async def test_a_newer_generation_is_what_the_call_has_become(self, process: LedgerProcess) -> None:
        """A ledger that has lost its last moments learns from a newer copy: its body is lent, the older one is not."""
        await process.note("a")
        holder = await process.holder()
        await lend(holder, copy_of("a", 2, body=b"retry", priority=1))
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (b"retry", Place.RUNNING)
        assert await take(holder, copy_of("a", 1)) is None

    async def test_a_newer_copy_of_what_runs_is_to_come_again_soon(
        self, stage: LedgerStage, process: LedgerProcess
    ) -> None:
        """A next attempt that is delivered before its `Again` is settled is held, and no longer than that."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        other = await (await stage.another()).holder()
        next_attempt = copy_of("a", 1, body=b"retry")
        held = await take(other, next_attempt)
        assert end_of_hold(held) <= process.ledger.now_ms()
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        await lend(other, next_attempt)

    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT], ids=["kept", "not kept"])
    async def test_a_zombies_next_attempt_does_not_undo_an_end(self, process: LedgerProcess, outcome: Outcome) -> None:
        """Who had lost a call and has published it once more is told so, and that copy is not wanted after the end."""
        zombie, holder = await process.holder(), await process.holder()
        lost = await lend_one(zombie, copy_of("a"))
        await process.ledger.release([zombie.name])
        deliveries = await lend(holder, copy_of("a"))
        retry = copy_of("a", next_attempt(0), body=b"retry")
        assert not await settle_one(zombie, Again(lost, b"retry", 0))
        assert end_of_hold(await take(holder, retry)) <= process.ledger.now_ms()
        await finish(holder, deliveries, outcome)
        assert await take(holder, retry) is None
        assert await process.record_of("a") == outcome.record

    async def test_no_attempt_of_what_has_ended_is_wanted(self, process: LedgerProcess) -> None:
        """Neither earlier nor later ones than the one that has ended are lent, in the first life and in the next."""
        holder = await process.holder()
        for life in (0, next_life(0)):
            await finish(holder, await lend(holder, copy_of("a", life + 2)))
            late = [copy_of("a", life + attempt) for attempt in (0, 1, 2, 3, 100)]
            assert list(await holder.take(late)) == [None] * len(late)

    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT], ids=["kept", "not kept"])
    async def test_a_later_life_of_what_has_ended_is_lent(self, process: LedgerProcess, outcome: Outcome) -> None:
        """The ledger has not heard of it, a failover may have lost that: the last end, and its crashes, are over."""
        await process.note("a")
        crashed = await process.holder()
        await lend(crashed, copy_of("a"))
        await process.ledger.release([crashed.name])
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), outcome)
        delivery = await lend_one(holder, copy_of("a", next_life(0), body=b"next life"))
        assert delivery.crashes == 0
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.record, sighting.body, sighting.place) == (None, b"next life", Place.RUNNING)
        await finish(holder, [delivery], NOT_KEPT)
        assert await process.look("a") is None

    @pytest.mark.parametrize("turns", [0, 1, 2, 10])
    async def test_a_take_that_was_cancelled_holds_nothing(self, process: LedgerProcess, turns: int) -> None:
        """What it may have lent is let go by the next one, unharmed."""
        holder = await process.holder()
        taking = asyncio.ensure_future(holder.take([copy_of("a")]))
        await pass_turns(turns)  # so that each is cancelled at another moment
        taking.cancel()
        await asyncio.wait([taking])
        if not taking.cancelled():
            pytest.skip("It was too fast to be cancelled.")
        delivery = await lend_one(holder, copy_of("a"))
        assert delivery.crashes == 0
        await finish(holder, [delivery])

    async def test_who_is_no_member_is_lent_nothing(self, process: LedgerProcess) -> None:
        """Taking raises LeaseLost after a release, and the copy is another's to take."""
        holder = await process.holder()
        await process.ledger.release([holder.name])
        with pytest.raises(LeaseLost):
            await take(holder, copy_of("a"))
        await lend(await process.holder(), copy_of("a"))

    async def test_taking_nothing_is_no_trouble(self, process: LedgerProcess) -> None:
        """An empty batch gives an empty answer."""
        assert list(await (await process.holder()).take([])) == []


async def _take_each(holder: Holder, ids: list[str]) -> list[Verdict]:
    return [await take(holder, copy_of(id)) for id in ids]
