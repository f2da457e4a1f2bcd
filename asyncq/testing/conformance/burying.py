"""What the dead letters promise."""

from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    Process,
    Stage,
    body_of,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Consumer, Counts, Dead, Envelope, Outcome, Taken

REASON = "Attempt 5 of 5 failed: ZeroDivisionError."


class BuryingSuite(Suite):
    """`Dead`, and what is kept of it."""

    async def test_a_dead_message_is_kept_with_its_reason_and_record(self, stage: Stage, process: Process) -> None:
        """`Dead` leaves a letter with body, reason, record and time, keeps the record, and tells the publisher."""
        reply = await process.listen()
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Dead(delivery, Outcome(RECORD, MINUTE_MS, reply), REASON, MINUTE_MS))
        (letter,) = await (await stage.process()).transport.dead_letters(QUEUE)
        assert letter[:5] == ("a", QUEUE, body_of("a"), REASON, RECORD)
        assert abs(letter.died_ms - process.transport.now_ms()) < MINUTE_MS
        assert await process.counts() == Counts(ready=0, scheduled=0, running=0, dead=1)
        if process.remembers:
            sighting = await process.look("a")
            assert sighting is not None
            assert sighting.record == RECORD
        assert (await process.end_of("a")).record in {RECORD, None}

    async def test_a_letter_holds_the_last_body(self, stage: Stage, process: Process) -> None:
        """A message that dies in a later attempt is kept as that attempt had it."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (first,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Again(first, b"retry", 0))
        await _bury(stage, consumer, 1)
        (letter,) = await process.transport.dead_letters(QUEUE)
        assert letter.body == b"retry"

    async def test_a_letter_without_a_record_has_none(self, stage: Stage, process: Process) -> None:
        """Where no record is kept the letter is all there is: the call is unknown and its id is free."""
        await process.publish_ids("a")
        await _bury(stage, await process.consumer(), 1, NOT_KEPT)
        (letter,) = await process.transport.dead_letters(QUEUE)
        assert letter.record is None
        if process.remembers:
            assert await process.look("a") is None
        await process.publish_ids("a")

    @needs(has_memory=True)
    async def test_the_id_of_a_dead_call_is_taken_by_its_record(self, stage: Stage, process: Process) -> None:
        """Publishing the id of a dead call again finds the record that is kept."""
        await process.publish_ids("a")
        await _bury(stage, await process.consumer(), 1)
        assert list(await process.publish(Envelope("a", QUEUE, b""))) == [Taken(None, RECORD)]

    async def test_letters_are_listed_newest_first(self, stage: Stage, process: Process) -> None:
        """The newest letters come first, no more than asked for, and only those of the queue."""
        await process.publish_ids(*"abc")
        await process.publish_ids("report", queue=OTHER_QUEUE)
        await _bury(stage, await process.consumer(), 4)
        letters = await process.transport.dead_letters(QUEUE)
        assert [letter.id for letter in letters] == ["c", "b", "a"]
        assert list(await process.transport.dead_letters(QUEUE, limit=2)) == list(letters[:2])
        assert [letter.id for letter in await process.transport.dead_letters(OTHER_QUEUE)] == ["report"]

    async def test_a_queue_without_letters_lists_none(self, process: Process) -> None:
        """A queue that was never used has no dead letters."""
        assert list(await process.transport.dead_letters("never-used")) == []

    async def test_the_oldest_letters_make_room(self, stage: Stage) -> None:
        """With a bound of three letters, five deaths leave the last three."""
        process = await stage.process(dead_cap=3)
        await process.publish_ids(*"abcde")
        await _bury(stage, await process.consumer(), 5)
        assert [letter.id for letter in await process.transport.dead_letters(QUEUE)] == ["e", "d", "c"]
        assert (await process.counts()).dead == 3

    async def test_letters_are_kept_for_their_time(self, stage: Stage, process: Process) -> None:
        """A letter is gone when its time is over, and one with more time stays."""
        await process.publish_ids("short", "long")
        consumer = await process.consumer()
        short, long = await stage.fetch(consumer, 2)
        assert await settle_one(consumer, Dead(long, KEPT, REASON, MINUTE_MS))
        assert await settle_one(consumer, Dead(short, KEPT, REASON, 500))
        assert {letter.id for letter in await process.transport.dead_letters(QUEUE)} == {"short", "long"}

        async def is_one_left() -> bool:
            return [letter.id for letter in await process.transport.dead_letters(QUEUE)] == ["long"]

        await stage.until(is_one_left, "the first letter to expire")
        assert (await process.counts()).dead == 1


async def _bury(stage: Stage, consumer: Consumer, count: int, outcome: Outcome = KEPT) -> None:
    for delivery in await stage.fetch(consumer, count, {QUEUE: count, OTHER_QUEUE: count}):
        assert await settle_one(consumer, Dead(delivery, outcome, REASON, MINUTE_MS))
