"""What is promised to groups of calls that share a queue: they take turns."""

from asyncq.errors import PublishRefused
from asyncq.queues import Queue
from asyncq.testing.conformance.groups import grouped, lined_up, many, one_by_one, publish, sharing
from asyncq.testing.conformance.stage import LIMITS, QUEUE, Process, Stage, finish
from asyncq.testing.conformance.suite import Suite, needs


@needs(has_groups=True)
class SharingSuite(Suite):
    """Groups within one queue."""

    async def test_groups_take_turns(self, stage: Stage, process: Process) -> None:
        """Each group is served in turn, and what is of one group in its order, however it was published."""
        consumer = await sharing(stage, process)
        await publish(stage, process, *many("a", 5))
        await publish(stage, process, *many("b", 2), *many("c", 1))
        found = await one_by_one(stage, consumer, 8)
        assert found == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]
        assert not await consumer.fetch(LIMITS, 1, wait=False)

    async def test_a_small_group_behind_a_large_one(self, stage: Stage, process: Process) -> None:
        """However much one group has, and whoever is busy with it: what comes behind it is soon among the first."""
        await process.publish(*many("a", 2_000))
        consumer = await process.consumer()
        await one_by_one(stage, consumer, 1)
        held = await stage.fetch(consumer, 1)
        await process.publish(*many("b", 3))
        await lined_up(stage, process, 2_001)
        found = await one_by_one(stage, consumer, 6)
        await finish(consumer, held)
        assert [id for id in found if id[0] == "b"] == ["b0", "b1", "b2"]

    @needs(keeps_place=True)
    async def test_one_fetch_serves_all_groups(self, stage: Stage, process: Process) -> None:
        """A fetch of many takes as much of each group as of another."""
        await process.publish(*many("a", 50), *many("b", 50), *many("c", 1))
        found = [delivery.id for delivery in await (await process.consumer()).fetch(LIMITS, 11, wait=False)]
        assert sorted(found) == sorted([*(f"a{n}" for n in range(5)), *(f"b{n}" for n in range(5)), "c0"])
        assert [id for id in found if id[0] == "a"] == [f"a{n}" for n in range(5)]

    async def test_who_comes_late_waits_for_one_turn(self, stage: Stage, process: Process) -> None:
        """A group that comes while others have much is served after one call of each of them at most."""
        consumer = await sharing(stage, process)
        await publish(stage, process, *many("a", 40), *many("b", 40), *many("c", 40))
        await one_by_one(stage, consumer, 10)
        await publish(stage, process, *many("late", 2))
        found = await one_by_one(stage, consumer, 8)
        assert "late0" in found[:4]
        assert "late1" in found

    async def test_who_comes_again_and_again_has_one_turn(self, stage: Stage, process: Process) -> None:
        """A group that always has one call, and publishes another when that ran, takes no more than its turn."""
        consumer = await sharing(stage, process)
        await publish(stage, process, *many("a", 10), *many("z", 10), grouped("again0"))
        found: list[str] = []
        for n in range(12):
            (id,) = await one_by_one(stage, consumer, 1)
            found.append(id.rstrip("0123456789"))
            if found[-1] == "again":
                await publish(stage, process, grouped(f"again{n + 1}"))
        assert {group: found.count(group) for group in ("a", "z", "again")} == {"a": 4, "z": 4, "again": 4}

    @needs(keeps_place=True)
    async def test_calls_without_a_group_share_a_lane(self, stage: Stage, process: Process) -> None:
        """All calls without a group are one more group, and keep their strict order by priority."""
        await process.publish_ids("plain0", "plain1", "plain2")
        await process.publish_ids("urgent", priority=9)
        await process.publish(*many("a", 2))
        await process.publish(*many("b", 1))
        consumer = await process.consumer()
        found = await one_by_one(stage, consumer, 7)
        assert [id for id in found if id[0] in "pu"] == ["urgent", "plain0", "plain1", "plain2"]
        assert [id for id in found if id[0] == "a"] == ["a0", "a1"]
        turns = [{"p": "", "u": ""}.get(id[0], id[0]) for id in found]
        assert sorted(turns[:3]) == ["", "a", "b"]
        assert sorted(turns[3:5]) == ["", "a"]

    @needs(keeps_place=True)
    async def test_priorities_hold_within_a_group(self, stage: Stage, process: Process) -> None:
        """Of one group larger priorities come first; they are no reason to let another group wait."""
        await process.publish(*(grouped(f"a{n}", "a", n) for n in range(10)), *many("b", 3))
        consumer = await process.consumer()
        found = await one_by_one(stage, consumer, 6)
        assert [id for id in found if id[0] == "a"] == ["a9", "a8", "a7"]
        assert [id for id in found if id[0] == "b"] == ["b0", "b1", "b2"]

    async def test_a_group_may_have_any_name(self, stage: Stage, process: Process) -> None:
        """Names that look like others, or like what a server writes itself, are groups like any other."""
        names = ["", "a", "a b", "á\n1", '"group":"a"', "0", "x" * 500, "slots room ", "inf"]
        consumer = await sharing(stage, process)
        await publish(stage, process, *(grouped(f"{n}-{i}", name) for n, name in enumerate(names) for i in range(2)))
        found = await one_by_one(stage, consumer, 2 * len(names))
        assert {id.split("-")[0] for id in found[: len(names)]} == {str(n) for n in range(len(names))}
        assert [id for id in found if id.endswith("-0")] == found[: len(names)]

    async def test_a_group_alone_is_no_grant(self, stage: Stage, process: Process) -> None:
        """What has a group and needs nothing is not taken for granted something."""
        await process.publish(grouped("a0"))
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        assert (delivery.id, delivery.has_terms) == ("a0", False)

    async def test_what_is_scheduled_joins_its_lane_when_it_is_due(self, stage: Stage, process: Process) -> None:
        """Calls that become due all at once are no more than their group's."""
        consumer = await sharing(stage, process)
        due_ms = process.transport.now_ms() + 1_000
        await process.publish(*(grouped(f"a{n}", due_ms=due_ms) for n in range(30)))
        await process.publish(grouped("b0", due_ms=due_ms), grouped("b1", due_ms=due_ms))
        assert (await process.counts()).scheduled == 32
        await stage.backend.pass_time(1.1)
        await lined_up(stage, process, 32)
        found = await one_by_one(stage, consumer, 4)
        assert sorted(found) == ["a0", "a1", "b0", "b1"]

    @needs(keeps_place=True)
    async def test_all_of_a_queue_count(self, stage: Stage) -> None:
        """What waits in lanes is ready, counts for the room in its queue, and is looked at as what is ready."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=3)])
        receipts = await process.publish(*many("a", 2), *many("b", 2))
        assert receipts[:3] == [None] * 3
        assert isinstance(receipts[3], PublishRefused)
        await process.expect_counts(ready=3)
        (bodies,) = await process.transport.first_in_line([QUEUE])
        assert b"a0" in bodies
