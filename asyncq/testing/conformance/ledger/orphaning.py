"""What is promised of orphans: what a dead holder had is published again, by whoever is left."""

import pytest

from asyncq.ledger import Copy
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import NOT_KEPT, OTHER_QUEUE, QUEUE, finish, settle_one
from asyncq.transport import Again, Outcome, Return


class OrphaningSuite(Suite):
    """What was reclaimed and not placed since."""

    async def test_what_was_reclaimed_is_an_orphan(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """It is found as it is to be published, with queue, body, priority and generation, by every process."""
        copies = [copy_of("a"), Copy("b", OTHER_QUEUE, b"retry", 7, 3)]
        await stage.dead(process, *copies)
        assert sorted(await (await stage.another()).orphans()) == copies

    async def test_what_was_released_is_an_orphan(self, process: LedgerProcess) -> None:
        """So is what a process held that is known to be dead; what has ended before is none."""
        dead = await process.holder()
        _, ended, sent_on = await lend(dead, copy_of("a"), copy_of("ended"), copy_of("sent-on"))
        await finish(dead, [ended], NOT_KEPT)
        assert await settle_one(dead, Again(sent_on, b"retry", 0))
        assert await process.ledger.release([dead.name]) == 1
        assert await process.orphans() == [copy_of("a")]

    async def test_an_orphan_has_its_last_body(self, process: LedgerProcess) -> None:
        """A call whose next attempt was lent when its holder died is found with the body of that."""
        dead = await process.holder()
        assert await settle_one(dead, Again(await lend_one(dead, copy_of("a", priority=4)), b"retry", 0))
        retry = copy_of("a", 1, body=b"retry", priority=4)
        await lend(dead, retry)
        await process.ledger.release([dead.name])
        assert await process.orphans() == [retry]

    async def test_the_oldest_are_found_first(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """No more are found than asked for, in the order in which they were reclaimed."""
        for id in "cab":
            dead = await process.holder()
            await lend(dead, copy_of(id))
            await process.ledger.release([dead.name])
            await stage.backend.pass_time(0.01)
        assert [copy.id for copy in await process.orphans(2)] == ["c", "a"]
        assert [copy.id for copy in await process.orphans()] == ["c", "a", "b"]

    async def test_what_was_placed_is_no_orphan(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What was published again is not found any more, the rest is: also by who comes after a reclaimer's death."""
        await stage.dead(process, *map(copy_of, "abc"))
        (first,) = await process.orphans(1)
        await process.ledger.placed([first])
        await process.ledger.placed([first, copy_of("unknown")])
        other = await stage.another()
        assert sorted([first, *await other.orphans()]) == [copy_of(id) for id in "abc"]

    async def test_what_was_taken_is_no_orphan(self, process: LedgerProcess) -> None:
        """A copy that was delivered to another is the message: nobody has to publish it again."""
        await _release(process, copy_of("a"), copy_of("b"))
        await lend(await process.holder(), copy_of("a"))
        assert await process.orphans() == [copy_of("b")]

    async def test_what_was_taken_and_returned_is_no_orphan(self, process: LedgerProcess) -> None:
        """Who hands it back has it published itself."""
        await _release(process, copy_of("a"))
        holder = await process.holder()
        assert await settle_one(holder, Return(await lend_one(holder, copy_of("a"))))
        assert await process.orphans() == []

    @pytest.mark.parametrize("outcome", [Outcome(b"cancelled", 60_000), NOT_KEPT], ids=["kept", "not kept"])
    async def test_what_was_withdrawn_is_no_orphan(self, process: LedgerProcess, outcome: Outcome) -> None:
        """Nobody wants it run any more."""
        await _release(process, copy_of("a"))
        assert await process.ledger.withdraw("a", QUEUE, outcome)
        assert await process.orphans() == []

    async def test_an_orphan_again(self, process: LedgerProcess) -> None:
        """Who places what was sent on since, and has become an orphan anew, leaves that."""
        await _release(process, copy_of("a"))
        (first,) = await process.orphans()
        holder = await process.holder()
        assert await settle_one(holder, Again(await lend_one(holder, first), b"retry", 0))
        retry = copy_of("a", 1, body=b"retry")
        await _release(process, retry)
        await process.ledger.placed([first])
        assert await process.orphans() == [retry]
        await process.ledger.placed([retry])
        assert await process.orphans() == []

    async def test_who_is_absolved_leaves_its_orphans(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A holder that lives takes its crashes back; what it held is to be published again all the same."""
        late = await stage.dead(process, copy_of("a"))
        await late.absolve()
        assert await process.orphans() == [copy_of("a")]

    async def test_where_nobody_died_there_are_none(self, process: LedgerProcess) -> None:
        """What waits, runs or has ended is no orphan."""
        await process.note("waits")
        holder = await process.holder()
        _, ended = await lend(holder, copy_of("runs"), copy_of("ended"))
        await finish(holder, [ended])
        assert await process.orphans() == []
        await process.ledger.placed([])


async def _release(process: LedgerProcess, *copies: Copy) -> None:
    """Let a holder die with these."""
    dead = await process.holder()
    await lend(dead, *copies)
    assert await process.ledger.release([dead.name]) == len(copies)
