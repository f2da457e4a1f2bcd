"""What is promised to groups of calls that wait in a ledger: they take turns, in a queue and in the lines of limits."""

from collections.abc import Sequence

import pytest

from asyncq.ledger import PUT_OFF_MS, Copy, Held, Holder, Lent, Parked, Replaced
from asyncq.limits import Numbers
from asyncq.store import Place
from asyncq.terms import RateTerm, Terms
from asyncq.testing.conformance.ledger.parking import (
    API,
    SLOT,
    TURN,
    allow,
    allow_at_once,
    ids_of,
    lend_turns,
    limited,
    park,
)
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
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
from asyncq.transport import Again, Delivery, Envelope, Owned, Return, UniqueTerm


def grouped(id: str, group: str | None = None, *, needs: Terms | None = None, priority: int = 0) -> Copy:
    """Return a copy of a call of a group: by default, its id without the digits behind it."""
    group = id.rstrip("0123456789") if group is None else group
    terms = Terms(needs.rates, needs.slots, group) if needs else Terms(group=group)
    return limited(id, terms, priority=priority)


def many(group: str, count: int, *, needs: Terms | None = None) -> list[Copy]:
    """Return so many copies of a group."""
    return [grouped(f"{group}{n}", group, needs=needs) for n in range(count)]


async def line_up(holder: Holder, *copies: Copy) -> None:
    """Let copies wait that have to be parked."""
    verdicts = await holder.line_up(copies)
    assert [type(verdict) for verdict in verdicts] == [Parked] * len(copies)


async def one_by_one(holder: Holder, count: int) -> list[str]:
    """Take, and end, one call after the other."""
    found: list[str] = []
    for _ in range(count):
        (delivery,) = await lend_turns(holder, 1)
        await finish(holder, [delivery], NOT_KEPT)
        found.append(delivery.id)
    return found


async def all_of(holder: Holder) -> list[str]:
    """Take, and end, one call after the other until it is nobody's turn."""
    found: list[str] = []
    while deliveries := await lend_turns(holder, 1):
        found += ids_of(deliveries)
        await finish(holder, deliveries, NOT_KEPT)
    return found


async def parked(process: LedgerProcess) -> int:
    """Return how many wait."""
    (count,) = await process.ledger.parked([QUEUE])
    return count


class SharingSuite(Suite):
    """Calls of groups, and others that wait with them."""

    async def test_who_has_a_group_is_lent_where_nobody_waits(self, process: LedgerProcess) -> None:
        """Calls of groups for which there is time are lent as they come, and are granted nothing by that."""
        deliveries = await lend(await process.holder(), *many("a", 2), *many("b", 1))
        assert [delivery.has_terms for delivery in deliveries] == [False] * 3
        assert await parked(process) == 0

    async def test_groups_take_turns(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What nobody had time for is lent in turn, to whoever has, and what is of one group in its order."""
        await line_up(await process.holder(), *many("a", 5), *many("b", 2), *many("c", 1))
        assert await process.place_of("a3") is Place.READY
        assert await parked(process) == 8
        holder = await (await stage.another()).holder()
        assert await one_by_one(holder, 8) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]
        assert await holder.take_turns(LIMITS, 10) == ([], None, False)
        assert await parked(process) == 0

    async def test_many_at_once(self, process: LedgerProcess) -> None:
        """Who takes many gets as many of each group as of another."""
        holder = await process.holder()
        await line_up(holder, *many("a", 50), *many("b", 50), *many("c", 1))
        found = ids_of(await lend_turns(holder, 11))
        assert sorted(found) == sorted([*(f"a{n}" for n in range(5)), *(f"b{n}" for n in range(5)), "c0"])
        turns = await holder.take_turns(LIMITS, 0)
        assert turns.are_waiting
        assert turns.due_ms is not None
        assert turns.due_ms <= process.ledger.now_ms() + 1

    async def test_who_has_a_group_stands_behind(self, process: LedgerProcess) -> None:
        """While others wait, a call of a group joins its lane, also where there is time; others are lent."""
        holder = await process.holder()
        await line_up(holder, *many("a", 4))
        assert isinstance(await take(holder, copy_of("plain")), Lent)
        await park(holder, grouped("b0"), grouped("a4"))
        assert await all_of(holder) == ["a0", "b0", "a1", "a2", "a3", "a4"]
        assert isinstance(await take(holder, grouped("a5")), Lent)

    async def test_who_comes_again_and_again_has_one_turn(self, process: LedgerProcess) -> None:
        """A group that always has one call takes no more than its turn."""
        holder = await process.holder()
        await line_up(holder, *many("a", 10), *many("z", 10), grouped("again0"))
        found: list[str] = []
        for n in range(12):
            found += [id.rstrip("0123456789") for id in await one_by_one(holder, 1)]
            if found[-1] == "again":
                await line_up(holder, grouped(f"again{n + 1}"))
        assert {group: found.count(group) for group in ("a", "z", "again")} == {"a": 4, "z": 4, "again": 4}

    async def test_calls_without_a_group_share_a_lane(self, process: LedgerProcess) -> None:
        """All calls without a group that had to wait are one more lane, strictly by priority."""
        holder = await process.holder()
        await line_up(holder, copy_of("plain0"), copy_of("plain1"), *many("a", 2))
        await line_up(holder, copy_of("urgent", priority=9), *many("b", 1))
        deliveries = [delivery for _ in range(6) for delivery in await lend_turns(holder, 1)]
        found = ids_of(deliveries)
        assert [id for id in found if id[0] in "pu"] == ["urgent", "plain0", "plain1"]
        assert sorted({"u": "p"}.get(id[0], id[0]) for id in found[:3]) == ["a", "b", "p"]
        assert {delivery.priority for delivery in deliveries if delivery.id == "urgent"} == {9}
        assert not any(delivery.has_terms for delivery in deliveries)
        await finish(holder, deliveries)
        assert [await process.record_of(id) is not None for id in found] == [True] * 6

    async def test_priorities_hold_within_a_group(self, process: LedgerProcess) -> None:
        """Of one group larger priorities come first, and are delivered; another group has its turn all the same."""
        holder = await process.holder()
        await line_up(holder, *(grouped(f"a{n}", "a", priority=n) for n in range(10)), *many("b", 3))
        deliveries = [delivery for _ in range(6) for delivery in await lend_turns(holder, 1)]
        assert [each.id for each in deliveries if each.id[0] == "a"] == ["a9", "a8", "a7"]
        assert [each.priority for each in deliveries if each.id[0] == "a"] == [9, 8, 7]
        assert [each.id for each in deliveries if each.id[0] == "b"] == ["b0", "b1", "b2"]

    async def test_a_group_may_have_any_name(self, process: LedgerProcess) -> None:
        """Names that look like others, or like what a server writes itself, are groups like any other."""
        names = ["a", "a b", "á\n1", '"group":"a"', "0", "x" * 500, "slots room ", "inf", "queue"]
        holder = await process.holder()
        await line_up(holder, *(grouped(f"{n}-{i}", name) for n, name in enumerate(names) for i in range(2)))
        deliveries = [delivery for _ in range(2 * len(names)) for delivery in await lend_turns(holder, 1)]
        assert ids_of(deliveries[: len(names)]) == [f"{n}-0" for n in range(len(names))]

    async def test_lining_up_tells_copies_from_calls(self, process: LedgerProcess) -> None:
        """What runs is held, what has ended is not wanted, and what stands in line stays where it is."""
        holder = await process.holder()
        a0, a1 = await lend(holder, *many("a", 2))
        await finish(holder, [a0])
        await line_up(holder, grouped("a2"), grouped("b0"), grouped("a2"))
        verdicts = await holder.line_up([grouped("a0"), grouped("a1"), grouped("a2")])
        assert verdicts[0] is None
        assert isinstance(verdicts[1], Held)
        assert isinstance(verdicts[2], Parked)
        assert list(await holder.line_up([])) == []
        assert await parked(process) == 2
        await finish(holder, [a1])
        assert await all_of(holder) == ["a2", "b0"]

    async def test_what_is_handed_back_waits_in_its_lane(self, process: LedgerProcess) -> None:
        """What is handed back, and nobody has time for, is its group's, and no other waits for more than its turn."""
        holder = await process.holder()
        await line_up(holder, *many("a", 3))
        deliveries = await lend_turns(holder, 2)
        await line_up(holder, *many("b", 2))
        assert list(await holder.settle([Return(each) for each in deliveries])) == [True, True]
        await holder.line_up(many("a", 2))
        found = await all_of(holder)
        assert sorted(found) == ["a0", "a1", "a2", "b0", "b1"]
        assert {id[0] for id in found[:2]} == {id[0] for id in found[2:4]} == {"a", "b"}

    async def test_somebody_is_called(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Who waits in another process learns that there is something which nobody here has time for."""
        holder = await process.holder()
        other = await (await stage.another()).holder()
        assert await other.take_turns(LIMITS, 10) == ([], None, False)
        calling = stage.start(other.called([QUEUE, OTHER_QUEUE], 60))
        await stage.backend.pass_time(0.05)
        await line_up(holder, grouped("a0"))
        await stage.outcome(calling, "a call")
        assert ids_of(await lend_turns(other)) == ["a0"]

    async def test_out_of_the_middle(self, process: LedgerProcess) -> None:
        """What is withdrawn leaves its lane, first, last or between, and a lane that is empty is nobody's turn."""
        holder = await process.holder()
        await line_up(holder, *many("a", 5), *many("b", 2), *many("c", 1), copy_of("plain"))
        for id in ("a0", "a2", "a4", "b0", "b1", "plain"):
            assert await process.ledger.withdraw(id, QUEUE, KEPT)
        assert await parked(process) == 3
        assert await all_of(holder) == ["a1", "c0", "a3"]
        assert await take(holder, grouped("b0")) is None

    async def test_a_retry_joins_its_lane(self, process: LedgerProcess) -> None:
        """What is tried again has its group, whether or not its copy says so, and stands behind others of it."""
        holder = await process.holder()
        await line_up(holder, *many("a", 2), *many("b", 1))
        (delivery,) = await lend_turns(holder, 1)
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        await holder.line_up([copy_of("a0", 1, body=b"retry")])
        found = [delivery for _ in range(3) for delivery in await lend_turns(holder, 1)]
        assert [each.id for each in found if each.id[0] == "a"] == ["a1", "a0"]
        assert [each.body for each in found if each.id == "a0"] == [b"retry"]

    @pytest.mark.parametrize("way", ["released", "reclaimed", "left"])
    async def test_who_goes_leaves_its_calls_to_their_groups(
        self, stage: LedgerStage, process: LedgerProcess, way: str
    ) -> None:
        """What a dead holder had from its lane is an orphan of its group, and asks again."""
        gone = await (await stage.another()).holder(lease=LEASE)
        await line_up(gone, *many("a", 2), copy_of("plain"))
        held = await lend_turns(gone)
        assert sorted(ids_of(held)) == ["a0", "a1", "plain"]
        holder = await process.holder()
        if way == "released":
            assert await process.ledger.release([gone.name]) == 3
        elif way == "reclaimed":
            assert await stage.outlive(gone) == 3
        else:
            assert await gone.leave() == 3
        orphans = await process.orphans()
        assert sorted(orphan.id for orphan in orphans) == ([] if way == "left" else ["a0", "a1", "plain"])
        assert {orphan.terms for orphan in orphans if orphan.id[0] == "a"} <= {Terms(group="a")}
        await line_up(holder, *many("b", 2))
        await holder.line_up([grouped("a0"), grouped("a1"), copy_of("plain")])
        assert await process.orphans() == []
        assert sorted(ids_of(await lend_turns(holder, 3))) in (["a0", "b0", "plain"], ["a1", "b0", "plain"])

    async def test_a_suspect_of_a_group_holds_up_nobody(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A suspect of a group is parked, passed over in its lane by who may take none, and holds up nobody."""
        for _ in range(2):
            dead = await process.holder()
            await lend_one(dead, grouped("a0"))
            await process.ledger.release([dead.name])
        holder = await process.holder()
        await park(holder, grouped("a0"))
        await line_up(holder, grouped("a1"), grouped("b0"))
        found = [delivery for _ in range(2) for delivery in await lend_turns(holder, 1, suspects=0)]
        assert sorted(ids_of(found)) == ["a1", "b0"]
        assert await lend_turns(holder, suspects=0) == []
        await stage.backend.pass_time(PUT_OFF_MS / 1000 + 0.05)
        (delivery,) = await lend_turns(holder)
        assert (delivery.id, delivery.crashes) == ("a0", 2)

    @pytest.mark.parametrize("groups", [1, 30])
    async def test_many_suspects_hold_up_nobody(self, process: LedgerProcess, groups: int) -> None:
        """However many suspects stand before it, in its lane or in others, what is none is lent to who takes none."""
        suspects = [grouped(f"s{n}", f"g{n % groups}") for n in range(60)]
        for _ in range(2):
            dead = await process.holder()
            await lend(dead, *suspects)
            await process.ledger.release([dead.name])
        holder = await process.holder()
        await park(holder, *suspects)
        innocent = [*many("g0", 2), *many("z", 2), copy_of("plain")]
        await line_up(holder, *innocent)
        found = [each.id for _ in innocent for each in await lend_turns(holder, 1, suspects=0)]
        assert sorted(found) == sorted(copy.id for copy in innocent)
        assert await lend_turns(holder, suspects=0) == []
        assert await parked(process) == 60

    async def test_rescheduled_out_of_its_lane(self, process: LedgerProcess) -> None:
        """A call that gets another time leaves its lane, and has its group when it comes again."""
        holder = await process.holder()
        await line_up(holder, *many("a", 2), *many("b", 1))
        later_ms = process.ledger.now_ms() + MINUTE_MS
        moved = await process.ledger.reschedule("a0", QUEUE, body_of("a0"), b"new", later_ms, priority=0)
        assert moved is not None
        assert moved.terms == Terms(group="a")
        assert await process.place_of("a0") is Place.SCHEDULED
        assert await parked(process) == 2
        await line_up(holder, moved._replace(due_ms=0))
        assert await one_by_one(holder, 3) in (["a1", "b0", "a0"], ["b0", "a1", "a0"])

    async def test_a_replaced_call_changes_its_group(self, process: LedgerProcess) -> None:
        """A call whose key another one takes over waits in the lane of its new group, and nowhere else."""
        term = UniqueTerm("key", replaces=True, id_at=(12, 15))
        body = b'{"v":1,"id":"x"}'
        holder = await process.holder()
        envelope = Envelope("x", QUEUE, body, is_fresh=True, unique=term, terms=Terms(group="a"))
        assert list(await process.ledger.claim([envelope], ttl_ms=MINUTE_MS)) == [0]
        await process.ledger.note([envelope])
        await line_up(holder, Copy("x", QUEUE, body, 0, 0, terms=Terms(group="a")), *many("a", 2), *many("b", 1))
        newer = Envelope("y", QUEUE, b'{"v":1,"id":"y"}', is_fresh=True, unique=term, terms=Terms(group="c"))
        (replaced,) = await process.ledger.claim([newer], ttl_ms=MINUTE_MS)
        assert isinstance(replaced, Replaced)
        assert replaced == (Owned("x", QUEUE), Copy("x", QUEUE, body, 0, 1, 0, Terms(group="c")))
        await holder.line_up([replaced.copy])
        assert await parked(process) == 4
        assert sorted(await one_by_one(holder, 3)) == ["a0", "b0", "x"]

    async def test_the_line_of_a_limit_has_lanes(self, process: LedgerProcess) -> None:
        """Who waits for a slot of a shared key stands in the lane of its group: the slots go round."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, grouped("a0", needs=SLOT))
        waiting = [grouped(f"a{n}", needs=SLOT) for n in range(1, 5)]
        await park(holder, *waiting, *many("b", 2, needs=SLOT), limited("plain", SLOT))
        await finish(holder, [first])
        found = await all_of(holder)
        assert sorted(id[0] for id in found[:3]) == ["a", "b", "p"]
        assert sorted(id[0] for id in found[3:5]) == ["a", "b"]
        assert found[5:] == ["a3", "a4"]

    async def test_a_heavy_head_of_a_group_gives_way(self, process: LedgerProcess) -> None:
        """When a head is withdrawn that counts for more than there is, the next of its group need not wait."""
        await allow(process, 2)
        heavy = Terms(rates=(RateTerm("api", weight=2),))
        holder = await process.holder()
        await lend_one(holder, limited("first"))
        await park(holder, limited("plain", heavy), grouped("a0", needs=heavy), grouped("a1", needs=TURN))
        assert await process.ledger.withdraw("plain", QUEUE, KEPT)
        assert await lend_turns(holder) == []
        assert await process.ledger.withdraw("a0", QUEUE, KEPT)
        assert ids_of(await lend_turns(holder)) == ["a1"]

    async def test_from_the_line_of_the_queue_to_that_of_a_limit(self, process: LedgerProcess) -> None:
        """What comes to the head and lacks something waits for that in the lane of its group, and holds up nobody."""
        await allow(process, 1)
        holder = await process.holder()
        await lend_one(holder, limited("first"))
        await line_up(holder, *many("a", 3, needs=TURN), *many("b", 3, needs=TURN), *many("c", 2))
        assert await all_of(holder) == ["c0", "c1"]
        assert await parked(process) == 6
        assert await process.ledger.withdraw("a1", QUEUE, KEPT)
        await process.ledger.limits().change(API, Numbers(5, 60_000))
        found = await lend_turns(holder)
        assert ids_of(found) in (["a0", "b0", "a2", "b1"], ["b0", "a0", "b1", "a2"])
        assert all(delivery.has_terms for delivery in found)

    async def test_many_that_lack_something(self, process: LedgerProcess) -> None:
        """However many of a group come to the head and lack something, who stands behind them is reached at once."""
        await allow(process, 1)
        holder = await process.holder()
        await lend_one(holder, limited("first"))
        await line_up(holder, *many("a", 1_200, needs=TURN))
        await line_up(holder, grouped("last", "a"))
        while not (turns := await holder.take_turns(LIMITS, 5)).lent:
            assert turns.due_ms == 0
        assert [copy.id for copy, _ in turns.lent] == ["last"]
        turns = await holder.take_turns(LIMITS, 5)
        assert (turns.lent, turns.are_waiting) == ([], True)
        assert turns.due_ms != 0

    async def test_nobody_is_overtaken_who_waits_for_a_limit(self, process: LedgerProcess) -> None:
        """Who comes to the head of its queue's line stands behind those who wait for the same limit."""
        await allow_at_once(process, 1)
        holder = await process.holder()
        first = await lend_one(holder, limited("first", SLOT))
        await park(holder, limited("early", SLOT))
        await line_up(holder, grouped("a0", needs=SLOT))
        await finish(holder, [first])
        assert await all_of(holder) == ["early", "a0"]

    async def test_it_may_take_nothing(self, process: LedgerProcess) -> None:
        """Who asks for a queue of which it may take none, or none at all, takes none, and is told that some wait."""
        holder = await process.holder()
        await line_up(holder, *many("a", 2))
        for limits, count in (({QUEUE: 0}, 5), ({QUEUE: 5}, 0), ({OTHER_QUEUE: 5}, 5)):
            turns = await holder.take_turns(limits, count)
            assert turns.lent == []
            assert turns.are_waiting == (QUEUE in limits)

    async def test_nobody_is_lent_twice(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A call that was lent from its lane, and whose copy comes then, is held; ended, it is not wanted."""
        holder, other = await process.holder(), await (await stage.another()).holder()
        await line_up(holder, *many("a", 3))
        held: Sequence[Delivery] = await lend_turns(other, 2)
        assert [type(each) for each in await holder.take(many("a", 3))] == [Held, Held, Parked]
        await finish(other, held)
        assert [type(each) for each in await holder.line_up(many("a", 3))] == [type(None), type(None), Parked]
