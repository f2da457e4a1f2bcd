"""What is promised of the lanes of groups: what leaves its place comes back to its own lane, and holds up no other."""

import pytest

from asyncq.limits import Numbers
from asyncq.terms import SlotTerm, Terms
from asyncq.testing.conformance.groups import grouped, many, one_by_one
from asyncq.testing.conformance.holding import ROOM
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    LIMITS,
    NOT_KEPT,
    QUEUE,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import (
    SUSPECT_CRASHES,
    Again,
    Dead,
    Done,
    Envelope,
    Owned,
    Return,
    Revival,
    Revived,
    UniqueTerm,
)


@needs(has_groups=True, keeps_place=True)
class RejoiningSuite(Suite):
    """Calls of groups that are handed back, tried again, moved, replaced or withdrawn."""

    async def test_what_comes_back_stays_in_its_lane(self, stage: Stage, process: Process) -> None:
        """What is handed back is the first of its group; what is tried again at once is its last."""
        await process.publish(*many("a", 3), *many("b", 3))
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 4)
        assert sorted(delivery.id for delivery in deliveries) == ["a0", "a1", "b0", "b1"]
        await consumer.settle([Return(each) if each.id in ("a0", "b1") else Again(each, b"", 0) for each in deliveries])
        found = await one_by_one(stage, consumer, 6)
        assert [id for id in found if id[0] == "a"] == ["a0", "a2", "a1"]
        assert [id for id in found if id[0] == "b"] == ["b1", "b2", "b0"]
        assert {id[0] for id in found[:2]} == {id[0] for id in found[2:4]} == {"a", "b"}

    async def test_what_a_consumer_leaves_stays_in_its_lanes(self, stage: Stage, process: Process) -> None:
        """What a consumer held that leaves, or dies, holds up no other group."""
        await process.publish(*many("a", 20))
        for end in ("leave", "release"):
            gone = await process.consumer()
            assert len(await stage.fetch(gone, 10)) == 10
            await process.publish(grouped(f"{end}0"))
            assert await (gone.leave() if end == "leave" else process.transport.release([gone.name])) == 10
            found = await stage.fetch(consumer := await process.consumer(), 2)
            assert sorted(delivery.id for delivery in found) == ["a0" if end == "leave" else "a1", f"{end}0"]
            await finish(consumer, found)
            await consumer.leave()

    async def test_what_is_reclaimed_stays_in_its_lane(self, stage: Stage, process: Process) -> None:
        """What a consumer held whose lease has run out is its group's, also what is no suspect after all."""
        await process.publish(*many("a", 4), *many("b", 4))
        survivor = await process.consumer(lease=2 * LEASE)
        await survivor.settle([Return(each, is_crash=True) for each in await stage.fetch(survivor, 4)])
        lost = await process.consumer(lease=LEASE)
        await stage.fetch(lost, 4)
        reclaimer = await process.lease_of(survivor)
        assert await stage.lapse(lost.name, reclaimer) == 4
        await lost.absolve()
        found = await one_by_one(stage, survivor, 8)
        assert [id for id in found if id[0] == "a"] == ["a0", "a1", "a2", "a3"]
        assert {id[0] for id in found[:2]} == {"a", "b"}

    async def test_suspects_are_lent_beside_their_groups(self, stage: Stage, process: Process) -> None:
        """A suspect of a group is lent where one may be, passed over where not, and holds up nobody."""
        await process.publish(*many("a", 2), *many("b", 2))
        consumer = await process.consumer()
        for _ in range(SUSPECT_CRASHES):
            deliveries = await stage.fetch(consumer, 4)
            await consumer.settle([Return(each, is_crash=each.id == "a0") for each in deliveries])
        assert sorted(each.id for each in await stage.fetch(consumer, 3, suspects=0)) == ["a1", "b0", "b1"]
        assert not await consumer.fetch(LIMITS, 9, wait=False, suspects=0)
        (suspect,) = await stage.fetch(consumer, 1, suspects=1)
        assert (suspect.id, suspect.crashes) == ("a0", SUSPECT_CRASHES)
        await settle_one(consumer, Return(suspect))
        assert await process.transport.withdraw("a0", QUEUE, KEPT)
        await process.expect_counts(running=3)

    async def test_out_of_the_middle(self, stage: Stage, process: Process) -> None:
        """What is withdrawn leaves its lane, first, last or between, and a lane that is empty is nobody's turn."""
        await process.publish(*many("a", 5), *many("b", 2), *many("c", 1))
        for id in ("a0", "a2", "a4", "b0", "b1"):
            assert await process.transport.withdraw(id, QUEUE, KEPT)
            assert not await process.transport.withdraw(id, QUEUE, KEPT)
        await process.expect_counts(ready=3)
        assert await one_by_one(stage, await process.consumer(), 3) == ["a1", "c0", "a3"]
        await process.expect_counts()

    async def test_a_call_is_rescheduled_out_of_its_lane_and_into_it(self, stage: Stage, process: Process) -> None:
        """Another time for a call of a group: its place is behind those of its group, when it is due."""
        await process.publish(*many("a", 3), *many("b", 1))
        far_ms = process.transport.now_ms() + 60_000
        for id, due_ms in (("a0", 0), ("a1", far_ms), ("b0", far_ms)):
            assert await process.transport.reschedule(id, QUEUE, id.encode(), b"new", due_ms)
        await process.expect_counts(ready=2, scheduled=2)
        assert await process.transport.reschedule("b0", QUEUE, b"new", b"newer", 0)
        consumer = await process.consumer()
        assert await one_by_one(stage, consumer, 3) == ["a2", "b0", "a0"]
        await process.expect_counts(scheduled=1)

    @pytest.mark.parametrize("stands", ["ready", "in line"])
    async def test_a_replaced_call_changes_its_group(self, stage: Stage, process: Process, stands: str) -> None:
        """A call whose key another one takes over waits in the lane of its new group, and nowhere else."""
        await process.transport.limits().declare({ROOM: Numbers(1)})
        slot = Terms(slots=(SlotTerm(ROOM.name),)) if stands == "in line" else None
        consumer = await process.consumer()
        if slot:
            await process.publish(grouped("first", "c", needs=slot))
            await stage.fetch(consumer, 1)

        def unique(id: str, group: str) -> Envelope:
            body = b'{"id":"%b"}' % id.encode()
            term = UniqueTerm("import", replaces=True, id_at=(6, 8 + len(id)))
            return grouped(id, group, needs=slot)._replace(body=body, unique=term)

        await process.publish(*many("a", 2, needs=slot), *many("b", 2, needs=slot), unique("x", "a"))
        if slot:
            assert not await consumer.fetch(LIMITS, 9, wait=False)
        assert list(await process.publish(unique("y", "b"))) == [Owned("x", QUEUE)]
        assert list(await process.publish(unique("z", ""))) == [Owned("x", QUEUE)]
        assert list(await process.publish(unique("w", "d"))) == [Owned("x", QUEUE)]
        if slot:
            assert not await consumer.fetch(LIMITS, 9, wait=False)
        await process.transport.limits().change(ROOM, Numbers(9))
        found = await stage.fetch_ids(consumer, 5)
        assert sorted(found) == ["a0", "a1", "b0", "b1", "x"]
        assert "x" in found[:3]
        assert not await consumer.fetch(LIMITS, 9, wait=False)

    async def test_what_follows_has_its_group(self, stage: Stage, process: Process) -> None:
        """What is published with the end of another call, and what is revived, takes turns by its group."""
        await process.publish(grouped("first", "c"), *many("a", 3))
        consumer = await process.consumer()
        first, a0 = await stage.fetch(consumer, 2)
        assert [first.id, a0.id] == ["first", "a0"]
        assert await settle_one(consumer, Dead(a0, NOT_KEPT, "It failed.", 60_000))
        (letter,) = await process.transport.dead_letters(QUEUE)
        revival = Revival(letter, letter.body, terms=Terms(group="a"))
        assert list(await process.transport.revive([revival])) == [Revived.DONE]
        assert await settle_one(consumer, Done(first, NOT_KEPT, many("b", 3)))
        found = await one_by_one(stage, consumer, 6)
        assert [id for id in found if id[0] == "a"] == ["a1", "a2", "a0"]
        assert [id[0] for id in found] in (["a", "b"] * 3, ["b", "a"] * 3)
