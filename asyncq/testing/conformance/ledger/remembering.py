"""What is promised of ends: they are remembered for longer than a copy can be under way."""

import pytest

from asyncq.ledger import TOMBSTONE_MS, WITHDRAWN_MS, next_life
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
from asyncq.testing.conformance.stage import KEPT, MINUTE_MS, NOT_KEPT, QUEUE, finish, settle_one
from asyncq.transport import Again, Dead, Outcome

DAY_MS = 24 * 3_600_000
DAYS_30_MS = 30 * DAY_MS
BRIEFLY = Outcome(b"{}", 1_000)
LONG = Outcome(b"{}", 3 * DAY_MS)


class RememberingSuite(Suite):
    """Copies that come late."""

    @pytest.mark.parametrize("outcome", [BRIEFLY, NOT_KEPT, LONG], ids=["kept briefly", "not kept", "kept for long"])
    @pytest.mark.parametrize("end", ["done", "dead"])
    async def test_an_end_is_remembered(
        self, stage: LedgerStage, process: LedgerProcess, end: str, outcome: Outcome
    ) -> None:
        """For an hour, and as long as its result is kept, no copy is wanted, and who claims the id has a later life."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        if end == "done":
            await finish(holder, [delivery], outcome)
        else:
            assert await settle_one(holder, Dead(delivery, outcome, "It failed.", MINUTE_MS))
        await stage.age(max(TOMBSTONE_MS, outcome.ttl_ms) - MINUTE_MS)
        assert await take(await process.holder(), copy_of("a")) is None
        if outcome is not LONG:
            assert list(await process.ledger.claim([envelope_of("a")], ttl_ms=MINUTE_MS)) == [next_life(0)]

    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT, LONG], ids=["kept", "not kept", "kept for long"])
    @pytest.mark.parametrize("state", ["noted", "sent on", "running"])
    async def test_what_was_withdrawn_is_remembered(
        self, stage: LedgerStage, process: LedgerProcess, state: str, outcome: Outcome
    ) -> None:
        """Until a day after it was due no copy is wanted: one may have waited for that, and then in a long line."""
        due_ms = 0 if state == "running" else process.ledger.now_ms() + DAYS_30_MS
        copy = copy_of("a", 1 if state == "sent on" else 0)
        if state == "noted":
            await process.note("a", due_ms=due_ms)
        else:
            holder = await process.holder()
            delivery = await lend_one(holder, copy_of("a"))
            assert state == "running" or await settle_one(holder, Again(delivery, copy.body, due_ms))
        assert await process.ledger.withdraw("a", QUEUE, outcome, even_running=True)
        await stage.age((DAYS_30_MS if due_ms else 0) + WITHDRAWN_MS - MINUTE_MS)
        assert await take(await process.holder(), copy) is None

    @pytest.mark.parametrize("outcome", [BRIEFLY, NOT_KEPT, LONG], ids=["kept briefly", "not kept", "kept for long"])
    async def test_a_later_life_does_not_shorten_that(
        self, stage: LedgerStage, process: LedgerProcess, outcome: Outcome
    ) -> None:
        """What was withdrawn, called anew and run before that does not run once more when its first message is due."""
        await process.note("a", due_ms=process.ledger.now_ms() + DAYS_30_MS)
        assert await process.ledger.withdraw("a", QUEUE, NOT_KEPT)
        (generation,) = await process.ledger.claim([envelope_of("a")], ttl_ms=MINUTE_MS)
        assert isinstance(generation, int)
        assert generation == next_life(0)
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a", generation)), outcome)
        await stage.age(DAYS_30_MS)
        assert list(await (await process.holder()).take([copy_of("a"), copy_of("a", generation)])) == [None, None]
