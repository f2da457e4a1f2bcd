"""What is promised of the lanes of groups in a ledger: what leaves its place comes back to its own lane."""

import pytest

from asyncq.ledger import PUT_OFF_MS, Copy, Replaced
from asyncq.store import Place
from asyncq.terms import Terms
from asyncq.testing.conformance.ledger.groups import all_of, grouped, line_up, many, one_by_one, parked
from asyncq.testing.conformance.ledger.parking import ids_of, lend_turns, park
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import KEPT, LEASE, MINUTE_MS, QUEUE, body_of, settle_one
from asyncq.transport import Again, Envelope, Owned, Return, UniqueTerm


class RejoiningSuite(Suite):
    """Calls of groups that are handed back, tried again, moved, replaced or withdrawn."""

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
