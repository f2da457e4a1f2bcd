"""What is promised to groups of calls that wait in a ledger: they take turns, in a queue and in the lines of limits."""

from collections.abc import Sequence

from asyncq.ledger import Held, Lent, Parked
from asyncq.limits import Numbers
from asyncq.store import Place
from asyncq.terms import RateTerm, Terms
from asyncq.testing.conformance.ledger.groups import all_of, grouped, line_up, many, one_by_one, parked
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
from asyncq.testing.conformance.stage import KEPT, LIMITS, OTHER_QUEUE, QUEUE, finish
from asyncq.transport import Delivery


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
