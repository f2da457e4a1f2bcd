"""Holding without a store: what comes again, after its channel has ended, to who has had it."""

from asyncq.testing.conformance.stage import LIMITS, MINUTE_MS, NOT_KEPT, Process, Stage, finish, settle_one
from asyncq.transport import Again, Consumer, Done, Outcome, Return


async def lose_channels(consumer: Consumer) -> None:
    """End the channels of a consumer, as when its connection is cut."""
    for intake in consumer._intakes.values():  # type: ignore[attr-defined] - it has them
        await intake.close()


async def test_what_runs_here_is_known_when_it_comes_again(stage: Stage, process: Process) -> None:
    """What is lent anew to who still runs it is not another delivery: it settles as if nothing had happened."""
    await process.publish_ids("a", "b")
    consumer = await process.consumer()
    a, b = await stage.fetch(consumer, 2)
    for id in ("first", "second"):
        await lose_channels(consumer)
        await process.publish_ids(id)
        (other,) = await stage.fetch(consumer, 1)
        assert other.id == id
        await finish(consumer, [other])
    assert list(await consumer.settle([Done(a, NOT_KEPT), Return(b)])) == [True, True]
    (again,) = await stage.fetch(consumer, 1)
    assert (again.id, again.crashes) == ("b", 0)
    await finish(consumer, [again])
    await consumer.leave()
    assert (await process.counts()).ready == 0


async def test_what_has_ended_here_is_known_when_it_comes_again(stage: Stage, process: Process) -> None:
    """What ends after its channel is told at once, and is dropped when it comes again."""
    reply = await process.listen()
    await process.publish_ids("a")
    consumer = await process.consumer()
    (a,) = await stage.fetch(consumer, 1)
    await lose_channels(consumer)
    assert not await settle_one(consumer, Done(a, Outcome(b"{}", MINUTE_MS, reply)))
    assert (await process.end_of("a")).record == b"{}"
    await process.publish_ids("b")
    (b,) = await stage.fetch(consumer, 1)
    assert b.id == "b"
    await finish(consumer, [b])
    await consumer.leave()
    assert (await process.counts()).ready == 0


async def test_a_failure_that_comes_too_late_is_not_settled(stage: Stage, process: Process) -> None:
    """A next attempt is not published by who has lost its channel: it runs again, here or elsewhere, with no crash."""
    await process.publish_ids("a")
    consumer = await process.consumer()
    (a,) = await stage.fetch(consumer, 1)
    await lose_channels(consumer)
    assert not await settle_one(consumer, Again(a, b"retry", 0))
    (again,) = await stage.fetch(consumer, 1)
    assert (again.body, again.crashes) == (a.body, 0)


async def test_what_another_has_is_not_settled_here(stage: Stage, process: Process) -> None:
    """What is lent anew to another is its own, with a crash on its count: who has lost it settles nothing."""
    await process.publish_ids("a")
    consumer = await process.consumer()
    (a,) = await stage.fetch(consumer, 1)
    await lose_channels(consumer)
    other = await (await stage.process()).consumer()
    (again,) = await stage.fetch(other, 1)
    assert (again.id, again.crashes) == ("a", 1)
    assert not await settle_one(consumer, Return(a))
    assert await settle_one(other, Done(again, NOT_KEPT))


async def test_what_all_have_lost_is_no_crash(stage: Stage, process: Process) -> None:
    """When all connections end, as when a node does, no consumer that lives through it takes it for a death."""
    await process.publish_ids("a")
    holder, other = [await (await stage.process()).consumer() for _ in range(2)]
    (a,) = await stage.fetch(holder, 1)
    assert await other.fetch(LIMITS, 1, wait=False) == []
    for consumer in (other, holder):
        await lose_channels(consumer)
    (again,) = await stage.fetch(other, 1)
    assert (again.id, again.crashes) == ("a", 0)
    assert list(await other.settle([Return(again)])) == [True]
    newcomer = await (await stage.process()).consumer()
    (last,) = await stage.fetch(newcomer, 1)
    assert last.crashes == 0
    assert not await settle_one(holder, Done(a, NOT_KEPT))
    await finish(newcomer, [last], NOT_KEPT)
