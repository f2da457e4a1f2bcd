"""What is promised of a ledger's calls that need what limits grant: they are lent with it, or parked until then."""

import asyncio
from collections.abc import Sequence

import pytest

from asyncq.errors import LeaseLost
from asyncq.ledger import AFTER_PARKING_MS, PARKED_MS, PUT_OFF_MS, Copy, Held, Holder, Lent, Parked, Replaced
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.store import Place
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    LIMITS,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    body_of,
    finish,
    settle_one,
)
from asyncq.transport import Again, Dead, Delivery, Done, Envelope, Owned, Return, UniqueTerm
from asyncq.turns import pass_turns

API, ROOM = LimitId(Kind.RATE, "api"), LimitId(Kind.SLOTS, "room")
TURN, SLOT = Terms(rates=(RateTerm("api"),)), Terms(slots=(SlotTerm("room"),))
PER = 0.6
"""Seconds of a window that a test waits out."""


def limited(id: str, terms: Terms = TURN, *, generation: int = 0, queue: str = QUEUE, priority: int = 0) -> Copy:
    """Return a copy of a call that needs something."""
    return copy_of(id, generation, queue=queue, priority=priority)._replace(terms=terms)


def slotted(id: str, *, generation: int = 0, queue: str = QUEUE) -> Copy:
    """Return a copy of a call that needs a slot."""
    return limited(id, SLOT, generation=generation, queue=queue)


async def allow(process: LedgerProcess, limit: int, per: float = 60) -> None:
    """Declare the rate limit."""
    await process.ledger.limits().declare({API: Numbers(limit, round(per * 1000))})


async def allow_at_once(process: LedgerProcess, limit: int) -> None:
    """Declare the concurrency limit."""
    await process.ledger.limits().declare({ROOM: Numbers(limit)})


async def lend_turns(holder: Holder, count: int = 10, *, suspects: int = 1) -> list[Delivery]:
    """Take those whose turn has come, and return the deliveries that a transport makes of them."""
    turns = await holder.take_turns({QUEUE: 100, OTHER_QUEUE: 100}, count, suspects=suspects)
    return [Delivery(*copy[:4], *lent) for copy, lent in turns.lent]


async def park(holder: Holder, *copies: Copy) -> None:
    """Take copies that have to be parked."""
    verdicts = await holder.take(copies)
    assert [type(verdict) for verdict in verdicts] == [Parked] * len(copies)


def ids_of(deliveries: Sequence[Delivery]) -> list[str]:
    """Return their ids."""
    return [delivery.id for delivery in deliveries]


class ParkingSuite(Suite):
    """Calls with terms."""

    async def test_what_is_not_granted_is_parked(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """As many as the limit allows are lent; the others wait, seen by all, and are lent in order when it is time."""
        await allow(process, 2, PER)
        holder = await process.holder()
        asked_ms = process.ledger.now_ms()
        verdicts = await holder.take([limited(id) for id in "abcde"])
        assert [type(verdict) for verdict in verdicts] == [Lent, Lent, Parked, Parked, Parked]
        lent, parked = verdicts[0], verdicts[2]
        assert isinstance(lent, Lent)
        assert lent.has_terms
        assert isinstance(parked, Parked)
        assert parked.due_ms is not None
        assert asked_ms < parked.due_ms <= process.ledger.now_ms() + PER * 1000 + 50
        assert await process.place_of("c") is Place.READY
        assert list(await process.ledger.parked([QUEUE, OTHER_QUEUE])) == [3, 0]
        assert await lend_turns(holder) == []
        await stage.backend.pass_time(PER + 0.05)
        other = await (await stage.another()).holder()
        first = await lend_turns(other)
        assert ids_of(first) == ["c", "d"]
        assert all(delivery.has_terms for delivery in first)
        assert await process.place_of("c") is Place.RUNNING
        await finish(other, first)
        await stage.backend.pass_time(PER + 0.05)
        await finish(other, await lend_turns(other))
        assert list(await process.ledger.parked([QUEUE])) == [0]
        assert await process.place_of("e") is None

    async def test_its_copy_comes_again(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A copy of a call that stands in line is parked, of one that was lent from there held, later not wanted."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("a"))
        await park(holder, slotted("b"), slotted("c"))
        await park(holder, slotted("b"))
        await finish(holder, [first])
        turns = await lend_turns(holder)
        assert ids_of(turns) == ["b"]
        assert isinstance(await take(holder, slotted("b")), Held)
        await finish(holder, turns, NOT_KEPT)
        await stage.age(PARKED_MS)
        other = await process.holder()
        assert await take(other, slotted("b")) is None
        assert AFTER_PARKING_MS > PARKED_MS

    async def test_who_comes_later_stands_behind(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A line is served by priority, then in order, also when a newcomer could have had the turn."""
        await allow(process, 1, PER)
        holder = await process.holder()
        await lend_one(holder, limited("a"))
        await park(holder, limited("b"))
        await stage.backend.pass_time(PER + 0.05)
        await park(holder, limited("c"), limited("urgent", priority=5))
        order: list[str] = []
        for _ in range(3):
            order += ids_of(await lend_turns(holder))
            await stage.backend.pass_time(PER + 0.05)
        assert order == ["urgent", "b", "c"]

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

    async def test_withdrawn_from_its_line(self, process: LedgerProcess) -> None:
        """A parked call that is withdrawn uses no turn, and its copy is not wanted, whenever it comes."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, slotted("a"))
        await park(holder, slotted("b"), slotted("c"))
        assert await process.ledger.withdraw("b", QUEUE, KEPT)
        assert list(await process.ledger.parked([QUEUE])) == [1]
        await finish(holder, [first])
        assert ids_of(await lend_turns(holder)) == ["c"]
        assert await take(holder, slotted("b")) is None

    async def test_rescheduled_from_its_line(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A parked call that gets another time leaves its line; what it has become asks again, with its new expiry."""
        await allow(process, 1)
        now_ms = process.ledger.now_ms()
        holder = await process.holder()
        await lend_one(holder, limited("a"))
        terms = Terms(rates=TURN.rates, expires_ms=now_ms + 100)
        await park(holder, limited("b", terms), limited("c"))
        moved = await process.ledger.reschedule(
            "b", QUEUE, body_of("b"), b"new", now_ms + 200, priority=0, expires_ms=now_ms + MINUTE_MS
        )
        assert moved is not None
        assert moved.terms == terms.expiring(now_ms + MINUTE_MS)
        assert await process.place_of("b") is Place.SCHEDULED
        assert list(await process.ledger.parked([QUEUE])) == [1]
        assert await take(holder, limited("b", terms)) is None
        await stage.backend.pass_time(1.5)
        await park(holder, moved)
        assert await lend_turns(holder) == []
        assert list(await process.ledger.parked([QUEUE])) == [2]

    async def test_replaced_in_its_line(self, process: LedgerProcess) -> None:
        """A later call of its key that needs something else changes lines; its copy asks for that."""
        await allow_at_once(process, 1)
        term = UniqueTerm("key", replaces=True, id_at=(12, 15))
        body = b'{"v":1,"id":"b"}'
        other = Terms(slots=(SlotTerm("room", "other"),))
        holder = await process.holder()
        await lend_one(holder, slotted("a"))
        envelope = Envelope("b", QUEUE, body, is_fresh=True, unique=term, terms=SLOT)
        assert list(await process.ledger.claim([envelope], ttl_ms=MINUTE_MS)) == [0]
        await process.ledger.note([envelope])
        await park(holder, Copy("b", QUEUE, body, 0, 0, terms=SLOT), slotted("c"))
        newer = Envelope("d", QUEUE, b'{"v":1,"id":"d"}', is_fresh=True, unique=term, terms=other)
        (replaced,) = await process.ledger.claim([newer], ttl_ms=MINUTE_MS)
        assert isinstance(replaced, Replaced)
        assert replaced == (Owned("b", QUEUE), Copy("b", QUEUE, body, 0, 1, 0, other))
        assert await process.orphans() == [replaced.copy]
        delivery = await lend_one(holder, replaced.copy)
        assert delivery.has_terms
        assert list(await process.ledger.parked([QUEUE])) == [1]

    async def test_terms_may_come_with_a_hand_back(self, process: LedgerProcess) -> None:
        """A call that came without its terms is lent once, and then only under them, whatever its copy says."""
        await allow(process, 1)
        holder = await process.holder()
        await lend_one(holder, limited("a"))
        delivery = await lend_one(holder, copy_of("b"))
        assert not delivery.has_terms
        assert await settle_one(holder, Return(delivery, terms=TURN))
        await park(holder, copy_of("b"))
        await process.ledger.limits().change(API, Numbers(2, 60_000))
        assert [delivery.has_terms for delivery in await lend_turns(holder)] == [True]

    async def test_noted_terms_are_kept(self, process: LedgerProcess) -> None:
        """What was noted with its terms needs them, also by a copy that does not say so."""
        await allow(process, 1)
        await process.ledger.note([Envelope(id, QUEUE, body_of(id), is_fresh=True, terms=TURN) for id in "ab"])
        holder = await process.holder()
        assert (await lend_one(holder, copy_of("a"))).has_terms
        await park(holder, copy_of("b"))

    async def test_a_retry_takes_a_new_turn(self, process: LedgerProcess) -> None:
        """The next attempt asks again, by what it says if the ledger has not heard of it."""
        await allow(process, 1)
        holder = await process.holder()
        delivery = await lend_one(holder, limited("a"))
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        await park(holder, limited("a", generation=1))
        await park(holder, limited("lost", generation=3))
        await process.ledger.limits().change(API, Numbers(3, 60_000))
        assert sorted(ids_of(await lend_turns(holder))) == ["a", "lost"]

    async def test_what_has_expired_uses_no_turn(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A call that expires in its line is lent without a turn, to be told so; once lent, it needs one."""
        await allow(process, 1)
        now_ms = process.ledger.now_ms()
        holder = await process.holder()
        old = Terms(rates=TURN.rates, expires_ms=now_ms - 5_000)
        await lend_one(holder, limited("old", old))
        await lend_one(holder, limited("a"))
        await park(holder, limited("late", Terms(rates=TURN.rates, expires_ms=now_ms + 200)))
        await stage.backend.pass_time(1.5)
        await process.ledger.limits().change(API, Numbers(1, 60_001))
        (late,) = await lend_turns(holder)
        assert (late.id, late.has_terms) == ("late", True)
        assert await settle_one(holder, Return(late))
        await park(holder, limited("late", Terms(rates=TURN.rates, expires_ms=now_ms + 200)))
        assert await lend_turns(holder) == []

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
