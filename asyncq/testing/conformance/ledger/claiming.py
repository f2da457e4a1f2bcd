"""What claiming promises: of all who publish an id that a caller chose one has it."""

import asyncio

import pytest

from asyncq.ledger import Claimed, ClaimReceipt, next_life
from asyncq.testing.conformance.ledger.stage import (
    LedgerProcess,
    LedgerStage,
    copy_of,
    envelope_of,
    lend,
    lend_one,
    take,
)
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import KEPT, MINUTE_MS, NOT_KEPT, RECORD, body_of, finish, settle_one
from asyncq.transport import Again, Outcome, Taken

OTHER_BODY = b"another call"
MOMENT_MS = 200


class ClaimingSuite(Suite):
    """Claims, and what takes their ids."""

    async def test_a_free_id_is_claimed(self, process: LedgerProcess) -> None:
        """Who claims an id that nobody has may publish it, in generation 0; noted, it is a call like any other."""
        assert await _claim(process, "a") == 0
        await process.note("a")
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.body == body_of("a")

    async def test_an_id_is_taken_by_a_call(self, process: LedgerProcess) -> None:
        """A call that waits, or runs, has its id, also for the same body."""
        await process.note("waits", "runs")
        await lend(await process.holder(), copy_of("runs"))
        for id in ("waits", "runs"):
            assert await _claim(process, id) == Taken(body_of(id), None)
            assert await _claim(process, id, OTHER_BODY) == Taken(body_of(id), None)

    async def test_an_id_is_taken_by_a_result(self, process: LedgerProcess) -> None:
        """The result that is kept under an id takes it."""
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")))
        assert await _claim(process, "a") == Taken(None, RECORD)

    async def test_an_open_claim_is_its_bodys(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Who claims it with the same body gets it, too; who claims it for another is told which to publish."""
        other = await stage.another()
        assert await _claim(process, "a") == 0
        assert await _claim(other, "a") == 0
        assert await _claim(other, "a", OTHER_BODY) == Claimed(0, body_of("a"))

    async def test_a_claim_that_is_found_holds_for_as_long_again(
        self, stage: LedgerStage, process: LedgerProcess
    ) -> None:
        """Who is told to publish what another has claimed has the time for it."""
        assert await _claim(process, "a", ttl_ms=MOMENT_MS) == 0
        assert await _claim(process, "a", OTHER_BODY) == Claimed(0, body_of("a"))
        await stage.backend.pass_time(MOMENT_MS / 500)
        assert await _claim(process, "a", OTHER_BODY) == Claimed(0, body_of("a"))

    async def test_a_claim_lapses(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A claim whose message was never noted holds for its time, and then anybody gets the id."""
        assert await _claim(process, "a", ttl_ms=MOMENT_MS) == 0
        assert await _claim(process, "a", OTHER_BODY, ttl_ms=MOMENT_MS) == Claimed(0, body_of("a"))
        await stage.backend.pass_time(MOMENT_MS / 500)
        assert await process.look("a") is None
        assert await _claim(process, "a", OTHER_BODY) == 0

    @pytest.mark.parametrize("way", ["note", "take"])
    async def test_a_claim_becomes_a_call(self, stage: LedgerStage, process: LedgerProcess, way: str) -> None:
        """Noted or lent, what was claimed has its id for as long as the call goes on."""
        assert await _claim(process, "a", ttl_ms=MOMENT_MS) == 0
        if way == "note":
            await process.note("a")
        else:
            await lend(await process.holder(), copy_of("a"))
        await stage.backend.pass_time(MOMENT_MS / 500)
        assert await _claim(process, "a", OTHER_BODY) == Taken(body_of("a"), None)
        assert await process.place_of("a") is not None

    async def test_a_note_after_the_claim_has_lapsed_is_one(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What was published all the same, and is noted late, is a call."""
        assert await _claim(process, "a", ttl_ms=1) == 0
        await stage.backend.pass_time(0.05)
        await process.note("a")
        assert await _claim(process, "a", OTHER_BODY) == Taken(body_of("a"), None)

    async def test_what_is_struck_is_free(self, process: LedgerProcess) -> None:
        """A claim that is taken back leaves the id to others, at once."""
        assert await _claim(process, "a") == 0
        await process.ledger.strike([envelope_of("a")])
        assert await _claim(process, "a", OTHER_BODY) == 0

    async def test_only_a_claim_is_struck(self, process: LedgerProcess) -> None:
        """The claim of another body stays, and so does what is a call by now."""
        assert await _claim(process, "a") == 0
        await process.ledger.strike([envelope_of("a", OTHER_BODY), envelope_of("unknown")])
        assert await _claim(process, "a", OTHER_BODY) == Claimed(0, body_of("a"))
        await process.note("a")
        await process.ledger.strike([envelope_of("a")])
        assert await _claim(process, "a", OTHER_BODY) == Taken(body_of("a"), None)

    async def test_one_of_a_batch_gets_an_id(self, process: LedgerProcess) -> None:
        """In one batch each is claimed by itself, in order; a second one with another body finds the first."""
        await process.note("taken")
        envelopes = [envelope_of("a"), envelope_of("taken"), envelope_of("a", OTHER_BODY), envelope_of("b")]
        claimed = await process.ledger.claim(envelopes, ttl_ms=MINUTE_MS)
        assert list(claimed) == [0, Taken(body_of("taken"), None), Claimed(0, body_of("a")), 0]

    async def test_one_of_many_gets_an_id(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of two processes that claim fifty ids with different bodies at the same time, one gets each."""
        other = await stage.another()
        ids = [str(n) for n in range(50)]
        claimed = await asyncio.gather(
            *(_claim(process, id) for id in ids), *(_claim(other, id, OTHER_BODY) for id in reversed(ids))
        )
        for n in range(50):
            assert {type(claimed[n]), type(claimed[99 - n])} == {int, Claimed}

    async def test_a_later_call_is_a_later_life(self, process: LedgerProcess) -> None:
        """An id whose call has left no result is free, and no late copy of that call passes for the next one."""
        holder = await process.holder()
        first = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Again(first, b"retry", 0))
        await finish(holder, [await lend_one(holder, copy_of("a", 1, body=b"retry"))], NOT_KEPT)
        generation = await _claim(process, "a", OTHER_BODY)
        assert isinstance(generation, int)
        assert generation == next_life(1)
        for late in (0, 1, 2):
            assert await take(holder, copy_of("a", late)) is None
        next_one = copy_of("a", generation, body=OTHER_BODY)
        assert (await lend_one(holder, next_one)).crashes == 0

    @pytest.mark.parametrize("way", ["note", "take"])
    async def test_a_call_ends_every_claim_of_its_id(self, process: LedgerProcess, way: str) -> None:
        """A claim that is open when another call of the id comes is over with it, and takes nothing when that ends."""
        assert await _claim(process, "a") == 0
        if way == "note":
            await process.ledger.note([envelope_of("a", OTHER_BODY)])
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a", 1, body=OTHER_BODY)), NOT_KEPT)
        assert await _claim(process, "a", b"a third call") == next_life(1)

    async def test_each_note_of_a_batch_ends_its_claim(self, process: LedgerProcess) -> None:
        """What is noted together with a call that has ended is a call like any other: no copy comes after its end."""
        envelopes = [envelope_of("a"), envelope_of("b")]
        assert list(await process.ledger.claim(envelopes, ttl_ms=MINUTE_MS)) == [0, 0]
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")))
        await process.ledger.note(envelopes)
        await finish(holder, await lend(holder, copy_of("b")))
        assert await take(holder, copy_of("a")) is None
        assert await take(holder, copy_of("b")) is None

    async def test_a_noted_claim_keeps_its_generation(self, process: LedgerProcess) -> None:
        """The note of what was claimed knows in which generation it was published."""
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), NOT_KEPT)
        generation = await _claim(process, "a")
        assert isinstance(generation, int)
        assert generation == next_life(0)
        await process.note("a")
        assert await process.place_of("a") is not None
        assert await take(holder, copy_of("a")) is None
        await lend(holder, copy_of("a", generation))

    async def test_a_struck_claim_brings_no_copy_back(self, process: LedgerProcess) -> None:
        """The end of an earlier call is remembered, whatever was claimed and struck since."""
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), NOT_KEPT)
        assert await _claim(process, "a") == next_life(0)
        await process.ledger.strike([envelope_of("a")])
        assert await take(holder, copy_of("a")) is None

    async def test_the_id_of_an_expired_result_is_free(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """When a result's time is over its id can be claimed, in a later generation."""
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), Outcome(RECORD, MOMENT_MS))

        async def claim() -> int:
            claimed = await _claim(process, "a")
            return claimed if isinstance(claimed, int) else 0

        generation = await stage.until(claim, "the result to expire")
        assert await take(holder, copy_of("a")) is None
        deliveries = await lend(holder, copy_of("a", generation))
        await finish(holder, deliveries, KEPT)
        assert await process.record_of("a") == RECORD


async def _claim(
    process: LedgerProcess, id: str, body: bytes | None = None, *, ttl_ms: int = MINUTE_MS
) -> ClaimReceipt:
    (claimed,) = await process.ledger.claim([envelope_of(id, body)], ttl_ms=ttl_ms)
    return claimed
