"""What is promised of turns: who waits in the lines of a ledger is lent when somebody asks, and somebody is called."""

import asyncio

import pytest

from asyncq.errors import LeaseLost
from asyncq.ledger import PUT_OFF_MS
from asyncq.limits import Numbers
from asyncq.testing.conformance.ledger.parking import (
    API,
    PER,
    ROOM,
    SLOT,
    allow,
    allow_at_once,
    ids_of,
    lend_turns,
    limited,
    park,
    slotted,
)
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, lend_one
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    LIMITS,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    finish,
    settle_one,
)
from asyncq.transport import Again, Dead, Done, Return
from asyncq.turns import pass_turns


class TurningSuite(Suite):
    """Calls that were parked, and those who ask for them."""

    async def test_every_end_frees_the_slot(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A result, a retry, a hand-back, a death and a withdrawal each give the next one its turn."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        delivery = await lend_one(holder, slotted("0"))
        await park(holder, *(slotted(str(n)) for n in range(1, 6)))
        for number in range(5):
            match number:
                case 0:
                    assert await settle_one(holder, Done(delivery, KEPT))
                case 1:
                    assert await settle_one(holder, Again(delivery, b"", process.ledger.now_ms() + MINUTE_MS))
                case 2:
                    assert await settle_one(holder, Dead(delivery, KEPT, "reason", MINUTE_MS))
                case 3:
                    assert await process.ledger.withdraw("3", QUEUE, NOT_KEPT, even_running=True)
                case _:
                    assert await settle_one(holder, Return(delivery))
            (delivery,) = await lend_turns(holder)
            assert delivery.id == str(number + 1) or number == 4
        assert await lend_turns(holder) == []

    @pytest.mark.parametrize("way", ["released", "reclaimed", "left"])
    async def test_who_goes_frees_its_slots(self, stage: LedgerStage, process: LedgerProcess, way: str) -> None:
        """When a holder dies or leaves, what it held waits again, and may be granted to whoever asks."""
        await allow_at_once(process, 2)
        gone = await (await stage.another()).holder(lease=LEASE)
        await lend_one(gone, slotted("a"))
        await lend_one(gone, slotted("b"))
        holder = await process.holder()
        await park(holder, slotted("c"), slotted("d"))
        assert await lend_turns(holder) == []
        if way == "released":
            assert await process.ledger.release([gone.name]) == 2
        elif way == "reclaimed":
            assert await stage.outlive(gone) == 2
        else:
            assert await gone.leave() == 2
        assert len(await lend_turns(holder)) == 2
        orphans = await process.orphans()
        assert [orphan.terms for orphan in orphans] == [SLOT] * len(orphans)

    async def test_an_orphan_asks_again(self, process: LedgerProcess) -> None:
        """What a dead holder had needs a turn of its own, and is no orphan any more once it is parked."""
        await allow(process, 1)
        dead = await process.holder()
        await lend_one(dead, limited("a"))
        await process.ledger.release([dead.name])
        (orphan,) = await process.orphans()
        holder = await process.holder()
        await park(holder, orphan)
        assert await process.orphans() == []
        await process.ledger.limits().change(API, Numbers(2, 60_000))
        (delivery,) = await lend_turns(holder)
        assert (delivery.id, delivery.crashes) == ("a", 1)

    async def test_who_waits_is_called(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A freed slot and a change call somebody who waits, in whichever process and queue."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("a"))
        await park(holder, slotted("b", queue=OTHER_QUEUE), slotted("c", queue=OTHER_QUEUE))
        other = await (await stage.another()).holder(queues=[OTHER_QUEUE])
        turns = await other.take_turns({OTHER_QUEUE: 10}, 10)
        assert turns == ([], None, True)
        calling = stage.start(other.called([OTHER_QUEUE], 60))
        await stage.backend.pass_time(0.05)
        await finish(holder, [first])
        await stage.outcome(calling, "a call for the freed slot")
        turns = await other.take_turns({OTHER_QUEUE: 10}, 10)
        assert [copy.id for copy, _ in turns.lent] == ["b"]
        calling = stage.start(other.called([OTHER_QUEUE], 60))
        await stage.backend.pass_time(0.05)
        await process.ledger.limits().change(ROOM, Numbers(2))
        await stage.outcome(calling, "a call for the change")
        assert [copy.id for copy, _ in (await other.take_turns({OTHER_QUEUE: 10}, 10)).lent] == ["c"]

    async def test_who_is_called_and_has_no_time_lets_others_know(
        self, stage: LedgerStage, process: LedgerProcess
    ) -> None:
        """Asking for nothing takes nothing, and calls somebody else where there is something."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("a"))
        await park(holder, slotted("b"))
        other = await (await stage.another()).holder()
        assert await lend_turns(other) == []
        await finish(holder, [first])
        await holder.called([QUEUE], 10)
        assert (await holder.take_turns(LIMITS, 0)).lent == []
        await other.called([QUEUE], 10)
        assert ids_of(await lend_turns(other)) == ["b"]

    async def test_who_leaves_has_somebody_else_called(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Who leaves may have been the only one that knew the time of a line: another is called, and not who leaves."""
        await allow(process, 1)
        leaving, other = await process.holder(), await (await stage.another()).holder()
        assert await lend_turns(other) == []
        await finish(leaving, [await lend_one(leaving, limited("first"))])
        still_waiting = stage.start(leaving.called([QUEUE], 60))
        await stage.backend.pass_time(0.05)
        calling = stage.start(other.called([QUEUE], 60))
        await stage.backend.pass_time(0.05)
        await park(leaving, limited("a"))
        assert await leaving.leave() == 0
        assert await stage.outcome(calling, "a call")
        assert (await other.take_turns(LIMITS, 10)).are_waiting
        await asyncio.gather(still_waiting, return_exceptions=True)

    async def test_waiting_ends_with_its_time(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Where nothing happens a wait is over when its time is, and who asks is told when to ask again."""
        await allow(process, 1, PER)
        holder = await process.holder()
        assert await holder.take_turns(LIMITS, 10) == ([], None, False)
        await lend_one(holder, limited("a"))
        await park(holder, limited("b"))
        lent, due_ms, are_waiting = await holder.take_turns(LIMITS, 10)
        assert (lent, are_waiting) == ([], True)
        assert due_ms is not None
        calling = stage.start(holder.called([QUEUE], (due_ms - process.ledger.now_ms()) / 1000))
        await stage.backend.pass_time(PER + 0.05)
        await stage.outcome(calling, "the line's time")
        assert ids_of(await lend_turns(holder)) == ["b"]
        await allow_at_once(process, 1)
        await lend_one(holder, slotted("c"))
        await park(holder, slotted("d"))
        assert await holder.take_turns(LIMITS, 10) == ([], None, True)

    async def test_a_suspect_is_for_who_may_take_one(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A suspect is parked, passed over by who may take none, and lent to who may; it holds up nobody."""
        await allow_at_once(process, 1)
        for _ in range(2):
            dead = await process.holder()
            await lend_one(dead, slotted("a"))
            await process.ledger.release([dead.name])
        holder = await process.holder()
        await park(holder, slotted("a"), slotted("b"))
        (delivery,) = await lend_turns(holder, suspects=0)
        assert delivery.id == "b"
        await finish(holder, [delivery])
        assert await lend_turns(holder, suspects=0) == []
        await stage.backend.pass_time(PUT_OFF_MS / 1000 + 0.05)
        (delivery,) = await lend_turns(holder)
        assert (delivery.id, delivery.crashes) == ("a", 2)
        await finish(holder, [delivery])
        assert await lend_turns(holder) == []

    async def test_a_turn_is_given_once(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of two holders that ask at once each gets others, and no more than there are slots."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("first"))
        await park(holder, *(slotted(str(n)) for n in range(20)))
        await process.ledger.limits().change(ROOM, Numbers(11))
        other = await (await stage.another()).holder()
        ours, theirs = await asyncio.gather(lend_turns(holder, 8), lend_turns(other, 8))
        assert sorted(map(int, ids_of([*ours, *theirs]))) == list(range(10))
        await finish(holder, [first, *ours])
        await finish(other, theirs)
        assert ids_of(await lend_turns(other, 20)) == [str(n) for n in range(10, 20)]

    @pytest.mark.parametrize("turns", [0, 1, 2, 10])
    async def test_asking_that_was_cancelled_holds_nothing(self, process: LedgerProcess, turns: int) -> None:
        """What it may have lent is let go by the next one, with its slots, and may be lent anew."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("a"))
        await park(holder, slotted("b"))
        await finish(holder, [first])
        asking = asyncio.ensure_future(holder.take_turns(LIMITS, 10))
        await pass_turns(turns)  # so that each is cancelled at another moment
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            pytest.skip("It was too fast to be cancelled.")
        deliveries = await lend_turns(holder)
        if not deliveries:  # it had been lent: it waits, and its copy comes again
            deliveries = [await lend_one(holder, slotted("b"))]
        assert deliveries[0].crashes == 0
        await finish(holder, deliveries)

    async def test_who_is_no_member_gets_no_turn(self, process: LedgerProcess) -> None:
        """Asking raises LeaseLost after a release, and the turn is another's."""
        await allow_at_once(process, 1)
        holder, other = await process.holder(), await process.holder()
        first = await lend_one(other, slotted("a"))
        await park(holder, slotted("b"))
        await process.ledger.release([holder.name])
        await finish(other, [first])
        with pytest.raises(LeaseLost):
            await holder.take_turns(LIMITS, 10)
        assert ids_of(await lend_turns(other)) == ["b"]

    async def test_code_outside_of_tasks_shares_the_slots(self, process: LedgerProcess) -> None:
        """Who holds a slot outside of tasks keeps one from calls, until it is given back."""
        await allow_at_once(process, 1)
        office = process.ledger.limits()
        assert (await office.ask(ROOM, "", 1, "client", MINUTE_MS)).is_granted
        holder = await process.holder()
        await park(holder, slotted("a"))
        assert await lend_turns(holder) == []
        assert await office.leave(ROOM, "", "client")
        assert ids_of(await lend_turns(holder)) == ["a"]
