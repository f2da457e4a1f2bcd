"""What is promised to groups of calls that share a queue, or a limit: they take turns."""

import pytest

from asyncq.errors import PublishRefused
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.queues import Queue
from asyncq.terms import RateTerm, SlotTerm, Terms
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
    Consumer,
    Dead,
    Done,
    Envelope,
    Owned,
    Return,
    Revival,
    Revived,
    UniqueTerm,
)

ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")
SLOT, TURN = (SlotTerm("room"),), (RateTerm("api"),)


def grouped(
    id: str, group: str | None = None, priority: int = 0, *, due_ms: int = 0, needs: Terms | None = None
) -> Envelope:
    """Return a message of a group: by default, its id without the digits behind it."""
    group = id.rstrip("0123456789") if group is None else group
    terms = Terms(needs.rates, needs.slots, group) if needs else Terms(group=group)
    return Envelope(id, QUEUE, id.encode(), priority, due_ms, terms=terms if group or needs else None)


def many(group: str, count: int, *, needs: Terms | None = None) -> list[Envelope]:
    """Return so many messages of a group."""
    return [grouped(f"{group}{n}", group, needs=needs) for n in range(count)]


async def sharing(stage: Stage, process: Process) -> Consumer:
    """Return a consumer that has seen that its queue has groups."""
    consumer = await process.consumer()
    if not process.transport.capabilities.keeps_place:
        await process.publish(grouped("opening"))
        await finish(consumer, await stage.fetch(consumer, 1), NOT_KEPT)
    return consumer


async def publish(stage: Stage, process: Process, *envelopes: Envelope) -> None:
    """Publish messages, and wait until they stand in their lanes: on some brokers a consumer brings them there."""
    count = (await process.counts()).waiting + len(envelopes)
    await process.publish(*envelopes)
    await lined_up(stage, process, count)


async def lined_up(stage: Stage, process: Process, count: int) -> None:
    """Wait until so many messages stand in their lanes, where they do not from the start."""

    async def are_there() -> bool:
        return (await process.counts()).waiting == count

    if not process.transport.capabilities.keeps_place:
        await stage.until(are_there, f"{count} messages to stand in their lanes")


async def one_by_one(stage: Stage, consumer: Consumer, count: int) -> list[str]:
    """Fetch, and end, one message after the other."""
    found: list[str] = []
    for _ in range(count):
        (delivery,) = await stage.fetch(consumer, 1)
        await finish(consumer, [delivery], NOT_KEPT)
        found.append(delivery.id)
    return found


async def all_ready(stage: Stage, process: Process, consumer: Consumer, most: int = 100) -> list[str]:
    """Fetch one message after the other until nothing is ready."""
    found: list[str] = []
    while deliveries := await consumer.fetch(LIMITS, 1, wait=False):
        found += [delivery.id for delivery in deliveries]
        assert len(found) <= most
    return found


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

    @needs(keeps_place=True)
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

    @needs(keeps_place=True)
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

    @needs(keeps_place=True)
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

    @needs(keeps_place=True)
    async def test_out_of_the_middle(self, stage: Stage, process: Process) -> None:
        """What is withdrawn leaves its lane, first, last or between, and a lane that is empty is nobody's turn."""
        await process.publish(*many("a", 5), *many("b", 2), *many("c", 1))
        for id in ("a0", "a2", "a4", "b0", "b1"):
            assert await process.transport.withdraw(id, QUEUE, KEPT)
            assert not await process.transport.withdraw(id, QUEUE, KEPT)
        await process.expect_counts(ready=3)
        assert await one_by_one(stage, await process.consumer(), 3) == ["a1", "c0", "a3"]
        await process.expect_counts()

    @needs(keeps_place=True)
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

    @needs(keeps_place=True)
    @pytest.mark.parametrize("stands", ["ready", "in line"])
    async def test_a_replaced_call_changes_its_group(self, stage: Stage, process: Process, stands: str) -> None:
        """A call whose key another one takes over waits in the lane of its new group, and nowhere else."""
        await process.transport.limits().declare({ROOM: Numbers(1)})
        slot = Terms(slots=SLOT) if stands == "in line" else None
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

    @needs(keeps_place=True)
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

    @needs(has_limits=True)
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

    @needs(has_limits=True, keeps_place=True)
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

    @needs(has_limits=True, keeps_place=True)
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

    @needs(has_limits=True, keeps_place=True)
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

    @needs(has_limits=True, keeps_place=True)
    async def test_a_group_without_turns_holds_up_nobody(self, stage: Stage, process: Process) -> None:
        """A group whose calls all wait for a limit leaves the queue to the others."""
        await process.transport.limits().declare({API: Numbers(1, 60_000)})
        await process.publish(*many("a", 300, needs=Terms(rates=TURN)), *many("b", 3))
        found = await all_ready(stage, process, await process.consumer())
        assert sorted(found) == ["a0", "b0", "b1", "b2"]
