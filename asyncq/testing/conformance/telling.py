"""What a store promises of telling."""

import asyncio
from collections.abc import Sequence

import pytest

from asyncq.store import CallKey, Listener, Notice, Place
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    QUEUE,
    RECORD,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Dead, Outcome, Return

LARGE = [5_000, 200_000, 1_000_000]
"""Sizes of records: above what is worth sending to everybody who listens."""


class TellingSuite(Suite):
    """Notices to publishers and to those who watch."""

    async def test_the_publisher_is_told(self, stage: Stage, process: Process) -> None:
        """The end of a call is told to its reply address, once, and to no other listener."""
        bystander = await stage.process()
        await bystander.listen()
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await (await stage.process()).consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(RECORD, MINUTE_MS, reply))
        assert await process.end_of("a") == Notice("a", record=RECORD, is_over=True)
        await _sentinel(stage, process, bystander)
        assert len(process.notices["a"]) == 1
        assert "a" not in bystander.notices

    @needs(has_memory=True)
    async def test_a_watcher_is_told(self, stage: Stage, process: Process) -> None:
        """Who has looked at a call that has not ended is told of its end, by whichever process ends it."""
        watchers = [await stage.process() for _ in range(2)]
        await process.publish_ids("a")
        for watcher in watchers:
            sighting = await watcher.look("a", watcher=await watcher.listen())
            assert sighting is not None
            assert sighting.place is Place.READY
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1))
        for watcher in watchers:
            assert (await watcher.end_of("a")).record == RECORD

    @needs(has_memory=True)
    async def test_who_watches_and_is_replied_to_is_told_once(self, stage: Stage, process: Process) -> None:
        """A publisher that watches its own call gets one notice of its end."""
        reply = await process.listen()
        await process.publish_ids("a")
        await process.look("a", watcher=reply)
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(RECORD, MINUTE_MS, reply))
        await process.end_of("a")
        await _sentinel(stage, process, process)
        assert len(process.notices["a"]) == 1

    @needs(has_memory=True)
    async def test_a_wrong_hint_watches_all_the_same(self, stage: Stage, process: Process) -> None:
        """Watching works whatever queue is guessed, and with none."""
        watcher = await stage.process()
        address = await watcher.listen()
        await process.publish_ids("a", "b")
        assert await watcher.look("a", "never-used", watcher=address) is not None
        assert await watcher.look("b", None, watcher=address) is not None
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 2))
        await watcher.end_of("a")
        await watcher.end_of("b")

    @needs(has_memory=True)
    @pytest.mark.parametrize("size", LARGE)
    async def test_a_large_record_is_announced_and_found(self, stage: Stage, process: Process, size: int) -> None:
        """The end of a call with a large record is told, with the record or without; looking finds it whole."""
        watcher = await stage.process()
        reply = await process.listen()
        await process.publish_ids("a")
        await watcher.look("a", watcher=await watcher.listen())
        consumer = await process.consumer()
        record = b"x" * size
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(record, MINUTE_MS, reply))
        for listener in (process, watcher):
            assert (await listener.end_of("a")).record in {record, None}
            sighting = await listener.look("a")
            assert sighting is not None
            assert sighting.record == record

    @needs(has_memory=True)
    async def test_a_watcher_is_told_that_nothing_is_kept(self, stage: Stage, process: Process) -> None:
        """Where no record is kept the watcher is told of the end, and finds nothing."""
        address = await process.listen()
        await process.publish_ids("a")
        await process.look("a", watcher=address)
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), NOT_KEPT)
        assert await process.end_of("a") == Notice("a", is_over=True)
        assert await process.look("a") is None

    @needs(has_memory=True)
    async def test_a_watcher_is_told_of_death_and_withdrawal(self, stage: Stage, process: Process) -> None:
        """A call may end as a dead letter or by being withdrawn: its watcher learns either."""
        address = await process.listen()
        await process.publish_ids("dead", "withdrawn")
        for id in ("dead", "withdrawn"):
            await process.look(id, watcher=address)
        other = await stage.process()
        consumer = await other.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Dead(delivery, KEPT, "It failed.", MINUTE_MS))
        assert await other.transport.withdraw("withdrawn", QUEUE, KEPT)
        for id in ("dead", "withdrawn"):
            assert (await process.end_of(id)).record == RECORD

    @needs(has_memory=True)
    async def test_a_watch_outlasts_retries_and_hand_backs(self, stage: Stage, process: Process) -> None:
        """Neither a next attempt nor a hand-back is an end; the one that comes later is told."""
        address = await process.listen()
        await process.publish_ids("a")
        await process.look("a", watcher=address)
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(first, b"retry", 0))
        (second,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Return(second))
        third = await stage.fetch(consumer, 1)
        await _sentinel(stage, process, process)
        assert not any(notice.is_over for notice in process.notices["a"])
        await finish(consumer, third)
        assert (await process.end_of("a")).record == RECORD

    @needs(has_memory=True)
    async def test_who_unwatches_is_not_told(self, stage: Stage, process: Process) -> None:
        """After `unwatch` nothing more is told of those calls; others are still watched."""
        address = await process.listen()
        await process.publish_ids("a", "b", "c")
        for id in "abc":
            await process.look(id, watcher=address)
        await process.store.unwatch([CallKey("a", QUEUE), CallKey("b")], address)
        await process.store.unwatch([CallKey("a", QUEUE), CallKey("unknown", QUEUE)], address)
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 3))
        await process.end_of("c")
        await _sentinel(stage, process, process)
        assert process.notices.keys() & {"a", "b"} == set()

    @needs(has_memory=True)
    async def test_progress_is_told(self, stage: Stage, process: Process) -> None:
        """A report reaches the publisher and those who watch, and is no end."""
        watcher = await stage.process()
        reply = await process.listen()
        await process.publish_ids("a")
        await watcher.look("a", watcher=await watcher.listen())
        worker = await stage.process()
        consumer = await worker.consumer()
        deliveries = await stage.fetch(consumer, 1)
        for progress in (b"1 of 2", b"2 of 2"):
            await worker.store.report(CallKey("a", QUEUE), progress, reply=reply, ttl_ms=MINUTE_MS)
            for listener in (process, watcher):
                await listener.progress_of("a", progress)
        assert not any(notice.is_over for notice in process.notices["a"])
        await finish(consumer, deliveries, Outcome(RECORD, MINUTE_MS, reply))
        await watcher.end_of("a")

    @needs(has_memory=True)
    async def test_an_end_is_told_that_comes_right_after_looking(self, stage: Stage, process: Process) -> None:
        """Of calls that end while they are looked at, each is found ended or is told of: no end falls between."""
        address = await process.listen()
        ids = [str(n) for n in range(60)]
        await process.publish_ids(*ids)
        consumer = await (await stage.process()).consumer()
        deliveries = await stage.fetch(consumer, len(ids))

        async def end_all() -> None:
            for delivery in deliveries:
                await finish(consumer, [delivery])

        async def look_at_all() -> list[str]:
            sightings = [(id, await process.look(id, watcher=address)) for id in ids]
            return [id for id, sighting in sightings if sighting is None or sighting.record is None]

        _, waited_for = await asyncio.gather(end_all(), look_at_all())
        for id in waited_for:
            await process.end_of(id)

    async def test_five_hundred_ends_are_all_told(self, stage: Stage, process: Process) -> None:
        """One settlement of 500 calls tells 500 notices, with their own records."""
        reply = await process.listen()
        ids = [str(n) for n in range(500)]
        await process.publish_ids(*ids)
        consumer = await (await stage.process()).consumer()
        deliveries = await stage.fetch(consumer, 500)
        for delivery in deliveries:
            await finish(consumer, [delivery], Outcome(delivery.id.encode(), MINUTE_MS, reply))
        for id in ids:
            assert (await process.end_of(id)).record == id.encode()

    async def test_notices_come_on_the_event_loop_and_never_inline(self, stage: Stage, process: Process) -> None:
        """A listener is called on the loop that listens, and not from within the call that ends what it waits for."""
        callers: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None] | None]] = []

        def take(_: Sequence[Notice]) -> None:
            callers.append((asyncio.get_running_loop(), asyncio.current_task()))

        reply = await process.store.listen(Listener(take, lambda: None))
        stage.start(process.store.run())
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(RECORD, MINUTE_MS, reply))

        async def is_told() -> bool:
            return len(callers) > 0

        await stage.until(is_told, "the notice")
        assert callers[0][0] is asyncio.get_running_loop()
        assert callers[0][1] is not asyncio.current_task()

    async def test_a_closed_store_is_told_nothing(self, stage: Stage, process: Process) -> None:
        """After a store is closed its listener hears no more, and who tells it is not disturbed."""
        gone = await stage.process()
        reply = await gone.listen()
        await process.publish_ids("a", "b")
        if process.remembers:
            await gone.look("b", watcher=reply)
        await gone.close()
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 2), Outcome(RECORD, MINUTE_MS, reply))
        await process.listen()
        await _sentinel(stage, process, process)
        assert dict(gone.notices) == {}


async def _sentinel(stage: Stage, process: Process, *listeners: Process) -> None:
    """End one more call that all listeners are told of: what was told before it has arrived then."""
    id = f"sentinel-{stage.new_name()}"
    for listener in listeners:
        await process.publish_ids(id)
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(None, reply=listener.address))
        await listener.end_of(id)
