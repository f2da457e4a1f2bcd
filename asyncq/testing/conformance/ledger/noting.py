"""What noting promises: who looks finds what the transport has."""

from asyncq.store import Place
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    body_of,
    finish,
    settle_one,
)
from asyncq.transport import Again


class NotingSuite(Suite):
    """What is noted, where it stands, and how much of it there is."""

    async def test_a_noted_call_waits(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """It is seen by every process, ready, with its body and queue; what nobody noted is unknown."""
        await process.note("a")
        sighting = await (await stage.another()).look("a", None)
        assert sighting is not None
        assert sighting == (QUEUE, None, body_of("a"), Place.READY, None, False)
        assert await process.look("b") is None

    async def test_a_call_that_is_due_later_is_scheduled(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Until its time has come it is looked at and counted as scheduled, and from then on as ready."""
        await process.note("a", due_ms=process.ledger.now_ms() + 300)
        assert await process.place_of("a") is Place.SCHEDULED
        assert list(await process.ledger.scheduled([QUEUE])) == [1]

        async def is_ready() -> bool:
            return await process.place_of("a") is Place.READY

        await stage.until(is_ready, "the call to be ready")
        assert list(await process.ledger.scheduled([QUEUE])) == [0]

    async def test_what_is_lent_is_not_scheduled(self, process: LedgerProcess) -> None:
        """A call that is delivered before its time, for a clock may be wrong, is lent."""
        await process.note("a", due_ms=process.ledger.now_ms() + MINUTE_MS)
        await lend(await process.holder(), copy_of("a"))
        assert await process.place_of("a") is Place.RUNNING
        assert list(await process.ledger.scheduled([QUEUE])) == [0]

    async def test_a_late_note_leaves_what_runs(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A call that was lent before it was noted runs on, and ends as its holder says."""
        holder = await (await stage.another()).holder()
        deliveries = await lend(holder, copy_of("a"))
        await process.note("a", due_ms=process.ledger.now_ms() + MINUTE_MS)
        assert await process.place_of("a") is Place.RUNNING
        await finish(holder, deliveries)
        assert await process.record_of("a") == RECORD

    async def test_a_late_note_leaves_what_has_ended(self, process: LedgerProcess) -> None:
        """A call that has ended before it was noted stays ended, with a record and without."""
        holder = await process.holder()
        kept, gone = await lend(holder, copy_of("kept"), copy_of("gone"))
        await finish(holder, [kept])
        await finish(holder, [gone], NOT_KEPT)
        await process.note("kept", "gone")
        assert await process.record_of("kept") == RECORD
        assert await process.look("gone") is None
        assert list(await holder.take([copy_of("kept"), copy_of("gone")])) == [None, None]

    async def test_a_late_note_leaves_the_next_attempt(self, process: LedgerProcess) -> None:
        """A call that was sent on before it was noted keeps its new body, its time and its generation."""
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Again(delivery, b"retry", process.ledger.now_ms() + MINUTE_MS))
        await process.note("a")
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (b"retry", Place.SCHEDULED)
        assert await take(holder, copy_of("a")) is None

    async def test_noting_twice_is_noting_once(self, process: LedgerProcess) -> None:
        """The second note of a call changes nothing; noting nothing is no trouble."""
        await process.note("a", "a")
        await process.note("a")
        await process.ledger.note([])
        delivery = await lend_one(await process.holder(), copy_of("a"))
        assert delivery.crashes == 0

    async def test_a_thousand_are_noted_in_one_call(self, process: LedgerProcess) -> None:
        """A thousand calls are noted, lent and ended in one call each; nothing runs any more."""
        ids = [str(n) for n in range(1000)]
        await process.note(*ids)
        holder = await process.holder()
        deliveries = await lend(holder, *map(copy_of, ids))
        assert await process.running() == 1000
        await finish(holder, deliveries)
        assert await process.running() == 0
        assert [await process.record_of(id) for id in ("0", "999", "1000")] == [RECORD, RECORD, None]

    async def test_each_queue_is_counted_by_itself(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What runs and what is scheduled is counted in the order asked for, zero for a queue that was never used."""
        later_ms = process.ledger.now_ms() + MINUTE_MS
        await process.note("a", "b", "c")
        await process.note("later", due_ms=later_ms)
        await process.note("report", queue=OTHER_QUEUE, due_ms=later_ms)
        holder = await process.holder()
        a, *_ = await lend(holder, copy_of("a"), copy_of("b"), copy_of("x", queue=OTHER_QUEUE))
        assert await settle_one(holder, Again(a, b"retry", later_ms))
        other = await stage.another()
        queues = [OTHER_QUEUE, "never-used", QUEUE]
        assert list(await other.ledger.running(queues)) == [1, 0, 1]
        assert list(await other.ledger.scheduled(queues)) == [1, 0, 2]

    async def test_queues_that_were_noted_are_known(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """A queue is known from its first call on, to everybody, in alphabetical order, and when nothing is left."""
        await process.note("report", queue=OTHER_QUEUE)
        await process.note("a")
        holder = await process.holder()
        await finish(holder, await lend(holder, copy_of("a")), KEPT)
        assert list(await (await stage.another()).ledger.known_queues()) == [QUEUE, OTHER_QUEUE]
