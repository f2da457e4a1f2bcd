"""What a ledger's withdrawing promises: the call has ended, whatever becomes of its copies."""

import asyncio

import pytest

from asyncq.ledger import next_attempt, next_life
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
from asyncq.testing.conformance.settling import KINDS, settlement_of
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    SOON,
    finish,
    settle_one,
)
from asyncq.transport import Again, Done, Outcome, Return

CANCELLED = Outcome(b"cancelled", MINUTE_MS)


class WithdrawingSuite(Suite):
    """Calls that are ended from outside, waiting and running."""

    async def test_what_waits_is_withdrawn(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Its record is kept, its publisher told, and its copy is not wanted."""
        other = await stage.another()
        reply = await other.listen()
        await process.note("a")
        await process.note("later", due_ms=process.ledger.now_ms() + MINUTE_MS)
        for id in ("a", "later"):
            assert await other.ledger.withdraw(id, QUEUE, Outcome(RECORD, MINUTE_MS, reply))
            assert (await other.end_of(id)).record in {RECORD, None}
            assert await process.record_of(id) == RECORD
            assert await take(await process.holder(), copy_of(id)) is None
        assert list(await process.ledger.scheduled([QUEUE])) == [0]

    async def test_what_was_handed_back_or_sent_on_is_withdrawn(self, process: LedgerProcess) -> None:
        """What has run before, and waits, is withdrawn like what has not; no copy of it is wanted."""
        holder = await process.holder()
        a, b = await lend(holder, copy_of("a"), copy_of("b"))
        assert list(await holder.settle([Return(a), Again(b, b"retry", 0)])) == [True, True]
        for id in ("a", "b"):
            assert await process.ledger.withdraw(id, QUEUE, NOT_KEPT)
        late = [copy_of("a"), copy_of("b"), copy_of("b", 1, body=b"retry")]
        assert list(await holder.take(late)) == [None] * 3

    async def test_what_runs_is_left_unless_it_is_meant(self, process: LedgerProcess) -> None:
        """Without `even_running` a call that runs goes on, and ends as its holder says."""
        holder = await process.holder()
        deliveries = await lend(holder, copy_of("a"))
        assert not await process.ledger.withdraw("a", QUEUE, CANCELLED)
        await finish(holder, deliveries)
        assert await process.record_of("a") == RECORD

    async def test_who_runs_it_is_told(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """The holder of a call that is withdrawn is told soon, by its token, and nobody else."""
        runner, bystander = await stage.another(), await stage.another()
        a, _ = await lend(await runner.holder(), copy_of("a"), copy_of("b"))
        await bystander.holder()
        severed_ms = stage.backend.now_ms()
        assert await process.ledger.withdraw("a", QUEUE, CANCELLED, even_running=True)
        await runner.loses(a.token)
        assert stage.backend.now_ms() - severed_ms < SOON * 1000
        assert bystander.severed == []
        assert await process.record_of("a") == CANCELLED.record
        assert await process.running() == 1

    @pytest.mark.parametrize("kind", KINDS)
    async def test_its_end_takes_no_effect(self, process: LedgerProcess, kind: str) -> None:
        """Whatever the holder settles of it afterwards is refused, beside a settlement that is not."""
        holder = await process.holder()
        a, b = await lend(holder, copy_of("a"), copy_of("b"))
        assert await process.ledger.withdraw("a", QUEUE, CANCELLED, even_running=True)
        assert list(await holder.settle([settlement_of(kind, a), Done(b, KEPT)])) == [False, True]
        assert await process.record_of("a") == CANCELLED.record
        assert await holder.leave() == 0

    @pytest.mark.parametrize("outcome", [CANCELLED, NOT_KEPT], ids=["kept", "not kept"])
    async def test_its_next_attempt_is_not_wanted(self, process: LedgerProcess, outcome: Outcome) -> None:
        """What its holder has published before it was told does not run; the id's next life does."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await process.ledger.withdraw("a", QUEUE, outcome, even_running=True)
        assert not await settle_one(holder, Again(delivery, b"retry", 0))
        assert await take(holder, copy_of("a", next_attempt(0), body=b"retry")) is None
        await lend(holder, copy_of("a", next_life(0)))

    async def test_it_does_not_come_back_when_its_holder_dies(self, process: LedgerProcess) -> None:
        """The death of the holder that had it brings nothing back."""
        holder = await process.holder()
        await lend(holder, copy_of("a"), copy_of("b"))
        assert await process.ledger.withdraw("a", QUEUE, CANCELLED, even_running=True)
        assert await process.ledger.release([holder.name]) == 1
        assert await process.orphans() == [copy_of("b")]

    async def test_a_new_call_of_its_id_is_another(self, process: LedgerProcess) -> None:
        """The holder is told of the old lending alone, and settles the new one, also where it has both."""
        holder = await process.holder()
        old = await lend_one(holder, copy_of("a"))
        assert await process.ledger.withdraw("a", QUEUE, NOT_KEPT, even_running=True)
        (generation,) = await process.ledger.claim([envelope_of("a")], ttl_ms=MINUTE_MS)
        assert isinstance(generation, int)
        new = await lend_one(holder, copy_of("a", generation))
        await process.loses(old.token)
        assert list(await holder.settle([Done(old, KEPT), Done(new, NOT_KEPT)])) == [False, True]

    async def test_only_what_is_there_is_withdrawn(self, process: LedgerProcess) -> None:
        """Nothing is kept of a call that is unknown, claimed only, in another queue, withdrawn or ended."""
        await process.ledger.claim([envelope_of("claimed")], ttl_ms=MINUTE_MS)
        for id in ("unknown", "claimed"):
            assert not await process.ledger.withdraw(id, QUEUE, KEPT, even_running=True)
            assert await process.look(id) is None
        await process.note("a", "b")
        assert not await process.ledger.withdraw("a", OTHER_QUEUE, KEPT)
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")))
        assert not await process.ledger.withdraw("a", QUEUE, CANCELLED, even_running=True)
        assert await process.record_of("a") == RECORD
        assert await process.ledger.withdraw("b", QUEUE, NOT_KEPT)
        assert not await process.ledger.withdraw("b", QUEUE, KEPT)
        assert await process.look("b") is None

    async def test_a_withdrawal_races_a_settlement(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of fifty calls that are withdrawn while they are settled, each ends in one of the two ways."""
        ids = [str(n) for n in range(50)]
        other = await stage.another()
        holder = await other.holder()
        deliveries = await lend(holder, *map(copy_of, ids))

        async def settle() -> list[bool]:
            return [await settle_one(holder, Done(delivery, KEPT)) for delivery in deliveries]

        async def withdraw() -> list[bool]:
            return [await process.ledger.withdraw(id, QUEUE, CANCELLED, even_running=True) for id in reversed(ids)]

        settled, withdrawn = await asyncio.gather(settle(), withdraw())
        for id, is_settled, is_withdrawn in zip(ids, settled, reversed(withdrawn), strict=True):
            assert is_settled is not is_withdrawn
            assert await process.record_of(id) == (RECORD if is_settled else CANCELLED.record)
