"""What is promised to groups of calls that wait for a limit: they take turns in its line."""

from asyncq.limits import Numbers
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance.granting import API
from asyncq.testing.conformance.groups import all_ready, grouped, many, one_by_one, publish, sharing
from asyncq.testing.conformance.holding import ROOM
from asyncq.testing.conformance.stage import KEPT, LIMITS, QUEUE, Process, Stage, finish
from asyncq.testing.conformance.suite import Suite, needs

SLOT, TURN = (SlotTerm(ROOM.name),), (RateTerm(API.name),)


@needs(has_groups=True, has_limits=True)
class LimitSharingSuite(Suite):
    """Groups within the line of one limit."""

    async def test_the_line_of_a_limit_has_lanes(self, stage: Stage, process: Process) -> None:
        """Who waits for a slot of a shared key stands in the lane of its group: the slots go round."""
        await process.transport.limits().declare({ROOM: Numbers(1)})
        room = Terms(slots=SLOT)
        consumer = await sharing(stage, process)
        await publish(stage, process, *many("a", 6, needs=room))
        found = await one_by_one(stage, consumer, 1)
        await publish(stage, process, *many("b", 2, needs=room), grouped("plain0", "", needs=room))
        found += await one_by_one(stage, consumer, 8)
        assert [id for id in found if id[0] == "a"] == [f"a{n}" for n in range(6)]
        assert {id[0] for id in found[1:4]} == {"a", "b", "p"}
        assert {id[0] for id in found[4:6]} == {"a", "b"}
        await process.expect_counts()

    @needs(keeps_place=True)
    async def test_a_group_joins_a_line_that_is_being_served(self, stage: Stage, process: Process) -> None:
        """Who joins a line of calls without groups in the fetch that serves these is not forgotten there."""
        await process.transport.limits().declare({ROOM: Numbers(1)})
        room = Terms(slots=SLOT)
        await process.publish(*(grouped(f"plain{n}", "", needs=room) for n in range(4)))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["plain0"]
        assert not await consumer.fetch(LIMITS, 9, wait=False)
        await process.publish(grouped("a0", needs=room, due_ms=process.transport.now_ms() + 50))
        await stage.backend.pass_time(0.1)
        await process.transport.limits().change(ROOM, Numbers(9))
        assert sorted(await stage.fetch_ids(consumer, 4)) == ["a0", "plain1", "plain2", "plain3"]

    @needs(keeps_place=True)
    async def test_turns_of_a_rate_go_round(self, stage: Stage, process: Process) -> None:
        """The turns that a line's time brings are shared by all groups that stand in it."""
        await process.transport.limits().declare({API: Numbers(1, 60_000)})
        api = Terms(rates=TURN)
        await process.publish(*many("a", 9, needs=api))
        await process.publish(*many("b", 9, needs=api))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a0"]
        assert not await consumer.fetch(LIMITS, 9, wait=False)
        assert (await process.counts()).waiting == 17
        await process.transport.limits().change(API, Numbers(7, 60_000))
        found = await stage.fetch_ids(consumer, 6)
        assert sorted(found) == ["a1", "a2", "a3", "b0", "b1", "b2"]
        assert not await consumer.fetch(LIMITS, 9, wait=False)

    @needs(keeps_place=True)
    async def test_a_call_keeps_its_lane_from_line_to_line(self, stage: Stage, process: Process) -> None:
        """What lacks one thing after the other stands by its group in each line, and leaves whole."""
        office = process.transport.limits()
        await office.declare({ROOM: Numbers(1), API: Numbers(1, 60_000)})
        both = Terms(rates=TURN, slots=SLOT)
        await process.publish(*many("a", 4, needs=both), *many("b", 2, needs=both))
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        assert not await consumer.fetch(LIMITS, 9, wait=False)
        await finish(consumer, [first])
        assert not await consumer.fetch(LIMITS, 9, wait=False)
        assert await process.transport.withdraw("a1", QUEUE, KEPT)
        assert await process.transport.withdraw("b1", QUEUE, KEPT)
        await office.change(ROOM, Numbers(9))
        await office.change(API, Numbers(9, 60_000))
        found = await stage.fetch_ids(consumer, 3)
        assert sorted(found) == ["a2", "a3", "b0"]
        assert "b0" in found[:2]
        assert await process.counts() == (0, 0, 3, 0, 0)

    @needs(keeps_place=True)
    async def test_a_group_without_turns_holds_up_nobody(self, stage: Stage, process: Process) -> None:
        """A group whose calls all wait for a limit leaves the queue to the others."""
        await process.transport.limits().declare({API: Numbers(1, 60_000)})
        await process.publish(*many("a", 300, needs=Terms(rates=TURN)), *many("b", 3))
        found = await all_ready(await process.consumer())
        assert sorted(found) == ["a0", "b0", "b1", "b2"]
