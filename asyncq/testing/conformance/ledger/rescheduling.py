"""What is promised to those who give a ledger's call that waits another time."""

import asyncio

import pytest

from asyncq.ledger import Copy, Lent, Parked, Replaced
from asyncq.store import Place
from asyncq.terms import Terms
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import KEPT, MINUTE_MS, NOT_KEPT, QUEUE, body_of, finish, settle_one
from asyncq.transport import Envelope, Return, UniqueTerm

NEW = b"another body"


class ReschedulingSuite(Suite):
    """Calls that wait, and go on as their next generation."""

    async def test_later_and_sooner(self, process: LedgerProcess) -> None:
        """A call gets body and time in one step; what it has become is an orphan, and the old copy is not wanted."""
        due_ms = process.ledger.now_ms() + MINUTE_MS
        await process.note("a")
        assert await _reschedule(process, "a", body_of("a"), NEW, due_ms) == Copy("a", QUEUE, NEW, 3, 1, due_ms)
        assert await process.place_of("a") is Place.SCHEDULED
        holder = await process.holder()
        assert await take(holder, copy_of("a")) is None
        now = Copy("a", QUEUE, b"now", 3, 2)
        assert await _reschedule(process, "a", NEW, b"now", 0) == now
        assert await process.place_of("a") is Place.READY
        assert await process.orphans() == [now]
        await finish(holder, await lend(holder, now))
        assert await process.orphans() == []
        assert await take(holder, copy_of("a", 1, body=NEW)) is None

    async def test_what_has_changed_stays(self, process: LedgerProcess) -> None:
        """Where the body is not the one that was read, or the queue or id is another, nothing is done."""
        await process.note("a")
        assert await _reschedule(process, "a", b"as it was", NEW, 0) is None
        assert await _reschedule(process, "b", body_of("a"), NEW, 0) is None
        assert await _reschedule(process, "a", body_of("a"), NEW, 0, queue="nowhere") is None
        assert await process.orphans() == []

    async def test_what_runs_stays(self, process: LedgerProcess) -> None:
        """What is lent, or has ended, is not touched; what was handed back is."""
        await process.note("a")
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await _reschedule(process, "a", body_of("a"), NEW, 0) is None
        assert await settle_one(holder, Return(delivery))
        moved = await _reschedule(process, "a", body_of("a"), NEW, 0)
        assert moved is not None
        await finish(holder, await lend(holder, moved))
        assert await _reschedule(process, "a", NEW, NEW, 0) is None

    async def test_an_orphan_stays_one(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A call that was reclaimed keeps its crash, and is published as what it has become, not as it was."""
        await process.note("a")
        await stage.dead(process, copy_of("a"))
        moved = await _reschedule(process, "a", body_of("a"), NEW, 0)
        assert moved is not None
        await process.ledger.placed([copy_of("a")])
        assert await process.orphans() == [moved]
        assert (await lend_one(await process.holder(), moved)).crashes == 1

    async def test_one_of_two_wins(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of two that have read the same body one moves the call."""
        other = await stage.another()
        await process.note("a")
        moves = (_reschedule(each, "a", body_of("a"), NEW, 0) for each in (process, other))
        assert len([moved for moved in await asyncio.gather(*moves) if moved is not None]) == 1

    @pytest.mark.parametrize("way", ["end", "withdraw"])
    async def test_the_old_copy_comes_late(self, stage: LedgerStage, process: LedgerProcess, way: str) -> None:
        """A copy that is due days after its call has been brought forward, and has ended, does not run it again."""
        day_ms = 24 * 60 * MINUTE_MS
        await process.note("a", due_ms=process.ledger.now_ms() + 10 * day_ms)
        moved = await _reschedule(process, "a", body_of("a"), NEW, 0)
        assert moved is not None
        await process.ledger.placed([moved])
        if way == "end":
            holder = await process.holder()
            await finish(holder, await lend(holder, moved), NOT_KEPT)
        else:
            assert await process.ledger.withdraw("a", QUEUE, NOT_KEPT)
        await stage.age(10 * day_ms)
        assert await take(await process.holder(), copy_of("a")) is None

    @pytest.mark.parametrize("way", ["moved", "replaced", "parked"])
    async def test_who_has_lost_it_does_not_undo_that(self, process: LedgerProcess, way: str) -> None:
        """Who was taken for dead, and publishes the next attempt all the same, takes back no new arguments."""
        key = UniqueTerm("key", replaces=True)
        await process.ledger.claim([Envelope("a", QUEUE, body_of("a"), unique=key)], ttl_ms=MINUTE_MS)
        frozen = await process.holder()
        await lend_one(frozen, copy_of("a"))
        assert await process.ledger.release([frozen.name]) == 1
        if way == "replaced":
            (changed,) = await process.ledger.claim([Envelope("b", QUEUE, NEW, unique=key)], ttl_ms=MINUTE_MS)
            assert isinstance(changed, Replaced)
            moved = changed.copy
        else:
            moved = await _reschedule(process, "a", body_of("a"), NEW, 0)
        assert moved is not None
        holder = await process.holder()
        late = copy_of("a", moved.generation, body=b"next attempt")
        assert await take(holder, late) is None
        if way == "parked":
            assert isinstance((await holder.line_up([moved._replace(terms=Terms(group="ours"))]))[0], Parked)
            assert await take(holder, late) is None
            ((lent, _),) = (await holder.take_turns({QUEUE: 1}, 1)).lent
            assert lent.body == NEW
        else:
            first, second, third = await holder.take([late, moved, late])
            assert first is None
            assert isinstance(second, Lent)
            assert not isinstance(third, Lent)
        assert not isinstance(await take(holder, late), Lent)
        assert await process.orphans() == []

    async def test_it_can_be_withdrawn(self, process: LedgerProcess) -> None:
        """A call that was moved is ended where it stands, and is no orphan any more."""
        await process.note("a")
        moved = await _reschedule(process, "a", body_of("a"), NEW, process.ledger.now_ms() + MINUTE_MS)
        assert moved is not None
        assert await process.ledger.withdraw("a", QUEUE, KEPT)
        assert await process.orphans() == []
        assert await take(await process.holder(), moved) is None


async def _reschedule(
    process: LedgerProcess, id: str, read: bytes, body: bytes, due_ms: int, *, queue: str = QUEUE
) -> Copy | None:
    return await process.ledger.reschedule(id, queue, read, body, due_ms, priority=3)
