"""What a store promises of looking."""

from asyncq.store import CallKey, Place, Sighting
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    SOON,
    Process,
    Stage,
    body_of,
    finish,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Envelope, Outcome


@needs(has_memory=True)
class RememberingSuite(Suite):
    """`look`, progress, and how long things are remembered."""

    async def test_a_call_is_seen_where_it_stands(self, stage: Stage, process: Process) -> None:
        """A call is seen as scheduled, ready and running with its body, and then with its record."""
        other = await stage.process()
        await process.publish_ids("later", due_ms=process.transport.now_ms() + MINUTE_MS)
        await process.publish_ids("a", queue=OTHER_QUEUE)
        assert await other.look("later") == Sighting(QUEUE, body=body_of("later"), place=Place.SCHEDULED)
        assert await other.look("a", OTHER_QUEUE) == Sighting(OTHER_QUEUE, body=body_of("a"), place=Place.READY)
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 1, {OTHER_QUEUE: 1})
        assert await other.look("a", OTHER_QUEUE) == Sighting(OTHER_QUEUE, body=body_of("a"), place=Place.RUNNING)
        await finish(consumer, deliveries)
        assert await other.look("a", OTHER_QUEUE) == Sighting(OTHER_QUEUE, record=RECORD)

    async def test_what_has_become_due_is_seen_as_ready(self, stage: Stage, process: Process) -> None:
        """A delayed message is seen as ready when its time has come, with nobody there to fetch it."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + 200)

        async def is_ready() -> bool:
            return await process.look("a") == Sighting(QUEUE, body=body_of("a"), place=Place.READY)

        await stage.until(is_ready, "the message to be seen as ready")

    async def test_an_unknown_call_is_none(self, process: Process) -> None:
        """Of an id that nobody published nothing is known, with any hint."""
        await process.publish_ids("a")
        keys = [CallKey("unknown", QUEUE), CallKey("unknown", "never-used"), CallKey("unknown")]
        assert list(await process.store.look(keys)) == [None, None, None]

    async def test_a_hint_is_only_a_hint(self, stage: Stage, process: Process) -> None:
        """A call is found with the right queue, a wrong one, one that was never used, and none, also when it ended."""
        other = await stage.process()
        hints = [OTHER_QUEUE, QUEUE, "never-used", None]
        await process.publish_ids("mail")
        await process.publish_ids("a", queue=OTHER_QUEUE)
        seen = Sighting(OTHER_QUEUE, body=body_of("a"), place=Place.READY)
        assert [await other.look("a", hint) for hint in hints] == [seen] * 4
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1, {OTHER_QUEUE: 1}))
        ended = Sighting(OTHER_QUEUE, record=RECORD)
        assert list(await other.store.look([CallKey("a", hint) for hint in hints])) == [ended] * 4

    async def test_a_thousand_calls_are_looked_at_together(self, stage: Stage, process: Process) -> None:
        """One look at a thousand ids, every second one unknown, answers in the order asked."""
        ids = [str(n) for n in range(1000)]
        await process.publish_ids(*ids[::2])
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 250))
        sightings = await (await stage.process()).store.look([CallKey(id, QUEUE) for id in ids])
        assert all(sighting is None for sighting in sightings[1::2])
        assert list(sightings[:500:2]) == [Sighting(QUEUE, record=RECORD)] * 250
        expected = [Sighting(QUEUE, body=body_of(id), place=Place.READY) for id in ids[500::2]]
        assert list(sightings[500::2]) == expected

    async def test_looking_at_nothing_is_no_trouble(self, process: Process) -> None:
        """No keys, no answers."""
        assert list(await process.store.look([])) == []

    async def test_records_are_any_bytes(self, stage: Stage, process: Process) -> None:
        """Records of any bytes, none of them included, and of any size come back unchanged."""
        records = [bytes(range(256)), b"", b"\0", b"x" * 1_000_000]
        consumer = await process.consumer()
        for n, record in enumerate(records):
            await process.publish_ids(str(n))
            await finish(consumer, await stage.fetch(consumer, 1), Outcome(record, MINUTE_MS))
        other = await stage.process()
        assert [await other.look(str(n)) for n in range(4)] == [Sighting(QUEUE, record=record) for record in records]

    async def test_a_record_is_kept_for_its_time(self, stage: Stage, process: Process) -> None:
        """A record is gone when its time is over, and not before; one with more time stays."""
        consumer = await process.consumer()
        await process.publish_ids("short", "long")
        short, long = await stage.fetch(consumer, 2)
        ended_ms = process.transport.now_ms()
        await finish(consumer, [short], Outcome(RECORD, ttl_ms=500))
        await finish(consumer, [long], KEPT)
        assert await process.look("short") is not None

        async def is_gone() -> bool:
            return await process.look("short") is None

        await stage.until(is_gone, "the record to expire")
        assert 500 <= process.transport.now_ms() - ended_ms < 500 + SOON * 1000
        assert await process.look("long") == Sighting(QUEUE, record=RECORD)

    async def test_the_latest_progress_is_seen(self, stage: Stage, process: Process) -> None:
        """A running call is seen with what it reported last."""
        other = await stage.process()
        await process.publish_ids("a")
        consumer = await process.consumer()
        await stage.fetch(consumer, 1)
        for progress in (b"1 of 2", b"2 of 2"):
            await process.store.report(CallKey("a", QUEUE), progress, ttl_ms=MINUTE_MS)
            expected = Sighting(QUEUE, body=body_of("a"), place=Place.RUNNING, progress=progress)
            assert await other.look("a") == expected

    async def test_progress_is_kept_for_its_time(self, stage: Stage, process: Process) -> None:
        """Progress that is not renewed is forgotten, and the call is not."""
        await process.publish_ids("a")
        await stage.fetch(await process.consumer(), 1)
        await process.store.report(CallKey("a", QUEUE), b"1 of 2", ttl_ms=300)
        running = Sighting(QUEUE, body=body_of("a"), place=Place.RUNNING)
        assert await process.look("a") == running._replace(progress=b"1 of 2")

        async def is_forgotten() -> bool:
            return await process.look("a") == running

        await stage.until(is_forgotten, "the progress to be forgotten")

    async def test_a_new_call_starts_without_progress(self, stage: Stage, process: Process) -> None:
        """A call that is published under the id of an ended one has none of its progress."""
        consumer = await process.consumer()
        await process.publish_ids("a")
        deliveries = await stage.fetch(consumer, 1)
        await process.store.report(CallKey("a", QUEUE), b"1 of 2", ttl_ms=MINUTE_MS)
        await finish(consumer, deliveries, Outcome(None))
        await process.publish(Envelope("a", QUEUE, b""))
        assert await process.look("a") == Sighting(QUEUE, body=b"", place=Place.READY)

    async def test_a_call_that_survived_a_crash_was_started(self, stage: Stage, process: Process) -> None:
        """`was_started` is said of a message whose consumer died, wherever it stands then."""
        await process.publish_ids("a", "b")
        dead = await process.consumer()
        await stage.fetch(dead, 1)
        await process.transport.release([dead.name])
        ready = await process.look("a")
        await stage.fetch(await process.consumer(), 2)
        running = await process.look("a")
        untouched = await process.look("b")
        assert ready is not None
        assert running is not None
        assert untouched is not None
        assert (ready.place, ready.was_started) == (Place.READY, True)
        assert (running.place, running.was_started) == (Place.RUNNING, True)
        assert not untouched.was_started
