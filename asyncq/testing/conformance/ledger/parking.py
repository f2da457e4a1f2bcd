"""What is promised of a ledger's calls that need what limits grant: they are lent with it, or parked until then."""

from collections.abc import Sequence

from asyncq.ledger import AFTER_PARKING_MS, PARKED_MS, Copy, Held, Holder, Lent, Parked, Replaced
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.store import Place
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    body_of,
    finish,
    settle_one,
)
from asyncq.transport import Again, Delivery, Envelope, Owned, Return, UniqueTerm

API, ROOM = LimitId(Kind.RATE, "api"), LimitId(Kind.SLOTS, "room")
TURN, SLOT = Terms(rates=(RateTerm("api"),)), Terms(slots=(SlotTerm("room"),))
PER = 1.0
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
