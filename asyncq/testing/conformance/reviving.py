"""What is promised to those who look through dead letters, drop them and let them run again."""

import asyncio

from asyncq.queues import Queue
from asyncq.testing.conformance.burying import REASON
from asyncq.testing.conformance.settling import NOTHING
from asyncq.testing.conformance.stage import (
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Dead, DeadLetter, Envelope, Outcome, Revival, Revived, Taken

ERROR = b'{"status":"failed"}'
FAILED = Outcome(ERROR, MINUTE_MS)
NEXT_LIFE = b"next life"


class RevivingSuite(Suite):
    """Dead letters, as an operator has to do with them."""

    async def test_a_letter_keeps_a_record_of_its_own(self, stage: Stage, process: Process) -> None:
        """Where the outcome keeps no record the letter still has the final one, and the id is free."""
        await process.publish_ids("a")
        await _bury_all(stage, process, 1, NOT_KEPT, record=ERROR)
        (letter,) = await process.transport.dead_letters(QUEUE)
        assert letter.record == ERROR
        if process.remembers:
            assert await process.look("a") is None

    async def test_letters_are_listed_in_pages(self, stage: Stage, process: Process) -> None:
        """Page after page, each from the place where the one before ended, lists every letter once, newest first."""
        ids = [f"call-{n}" for n in range(250)]
        await process.publish_ids(*ids)
        await _bury_all(stage, process, len(ids))
        listed: list[str] = []
        before: int | None = None
        while page := await process.transport.dead_letters(QUEUE, limit=60, before=before):
            listed += [letter.id for letter in page]
            before = page[-1].place
        assert listed == ids[::-1]
        assert len(await process.transport.dead_letters(QUEUE, limit=240)) == 240

    async def test_pages_hold_while_letters_come_and_go(self, stage: Stage, process: Process) -> None:
        """The next page begins after the last letter of the one before, though that is gone and newer ones came."""
        await process.publish_ids(*"abcd")
        await _bury_all(stage, process, 4)
        first = await process.transport.dead_letters(QUEUE, limit=2)
        assert list(await process.transport.drop_letters(first)) == [True, True]
        await process.publish_ids("e")
        await _bury_all(stage, process, 1)
        rest = await process.transport.dead_letters(QUEUE, before=first[-1].place)
        assert [letter.id for letter in rest] == ["b", "a"]

    async def test_letters_are_found_by_id(self, stage: Stage, process: Process) -> None:
        """A letter is found by the id of its call, in its queue, as the list has it."""
        await process.publish_ids(*"ab")
        await _bury_all(stage, process, 2)
        newest, oldest = await process.transport.dead_letters(QUEUE)
        assert list(await process.transport.find_letters(QUEUE, ["a", "unknown", "b"])) == [oldest, None, newest]
        assert list(await process.transport.find_letters(OTHER_QUEUE, ["a"])) == [None]
        assert list(await process.transport.find_letters("never-used", ["a"])) == [None]

    async def test_letters_are_dropped(self, stage: Stage, process: Process) -> None:
        """What is dropped is gone, once; the others stay, and so does the result."""
        await process.publish_ids(*"abc")
        await _bury_all(stage, process, 3)
        b = await _letter(process, "b")
        assert list(await process.transport.drop_letters([b])) == [True]
        assert list(await process.transport.drop_letters([b])) == [False]
        assert [letter.id for letter in await process.transport.dead_letters(QUEUE)] == ["c", "a"]
        assert (await process.counts()).dead == 2
        if process.remembers:
            sighting = await process.look("b")
            assert sighting is not None
            assert sighting.record == ERROR

    async def test_a_revived_letter_runs_again(self, stage: Stage, process: Process) -> None:
        """A revived message is fetched with its new body and priority and no crash on its count; its letter is gone."""
        await process.publish_ids("a", priority=3)
        other = await stage.process()
        crashed = await other.consumer()
        await stage.fetch(crashed, 1)
        await stage.die(other, crashed)
        await _bury_all(stage, process, 1)
        letter = await _letter(process, "a")
        assert list(await process.transport.revive([Revival(letter, NEXT_LIFE, 3)])) == [Revived.DONE]
        await process.expect_counts(ready=1)
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        assert (delivery.id, delivery.queue, delivery.body, delivery.priority) == ("a", QUEUE, NEXT_LIFE, 3)
        assert delivery.crashes == 0

    async def test_revived_ones_wake_who_waits(self, stage: Stage, process: Process) -> None:
        """A consumer that waits is woken by what is revived in another process."""
        await process.publish_ids("a")
        await _bury_all(stage, process, 1)
        fetching = stage.start(stage.fetch_ids(await process.consumer(), 1))
        other = await stage.process()
        assert list(await other.transport.revive([Revival(await _letter(process, "a"), b"", 0)])) == [Revived.DONE]
        assert await stage.outcome(fetching, "a revived message to be fetched") == ["a"]

    @needs(has_priorities=True)
    async def test_revived_ones_keep_their_order(self, stage: Stage, process: Process) -> None:
        """Of what is revived, larger priorities come first, then what was revived first."""
        await process.publish_ids(*"abc")
        await _bury_all(stage, process, 3)
        letters = [await _letter(process, id) for id in "abc"]
        revivals = [Revival(letter, b"", priority) for letter, priority in zip(letters, [0, 5, 0], strict=True)]
        assert list(await process.transport.revive(revivals)) == [Revived.DONE] * 3
        assert await stage.fetch_ids(await process.consumer(), 3) == ["b", "a", "c"]

    @needs(has_memory=True)
    async def test_reviving_frees_the_id_of_its_old_result(self, stage: Stage, process: Process) -> None:
        """The result of the death is gone in the same step: who looks sees the new run, and is told of its end."""
        await process.publish_ids("a")
        await _bury_all(stage, process, 1)
        await process.transport.revive([Revival(await _letter(process, "a"), NEXT_LIFE)])
        watcher = await process.listen()
        sighting = await process.look("a", watcher=watcher)
        assert sighting is not None
        assert (sighting.record, sighting.body) == (None, NEXT_LIFE)
        await finish(consumer := await process.consumer(), await stage.fetch(consumer, 1))
        assert (await process.end_of("a")).record in {RECORD, None}
        assert list(await process.publish(Envelope("a", QUEUE, b""))) == [Taken(None, RECORD)]

    async def test_a_letter_is_revived_once(self, stage: Stage, process: Process) -> None:
        """Of ten who revive the same letters at once each is answered, one of them with success, and each runs once."""
        ids = [f"call-{n}" for n in range(20)]
        await process.publish_ids(*ids)
        await _bury_all(stage, process, len(ids))
        revivals = [Revival(letter, NEXT_LIFE) for letter in await process.transport.dead_letters(QUEUE)]
        processes = [process, *[await stage.process() for _ in range(9)]]
        answers = await asyncio.gather(*(each.transport.revive(revivals) for each in processes))
        for each in zip(*answers, strict=True):
            assert sorted(answer.value for answer in each) == ["done", *["gone"] * 9]
        assert sorted(await stage.fetch_ids(await process.consumer(), len(ids))) == sorted(ids)
        assert await process.counts() == process.counted(running=len(ids))

    async def test_a_letter_is_revived_or_dropped(self, stage: Stage, process: Process) -> None:
        """Of a hundred letters that one revives while another drops them, each is either run or dropped."""
        await process.publish_ids(*(ids := [f"call-{n}" for n in range(100)]))
        await _bury_all(stage, process, len(ids))
        letters = await process.transport.dead_letters(QUEUE)
        other = await stage.process()

        async def revive() -> int:
            answers = [(await process.transport.revive([Revival(letter, NEXT_LIFE)]))[0] for letter in letters]
            return answers.count(Revived.DONE)

        async def drop() -> int:
            return sum([(await other.transport.drop_letters([letter]))[0] for letter in reversed(letters)])

        revived, dropped = await asyncio.gather(revive(), drop())
        assert revived + dropped == len(ids)
        assert await process.counts() == process.counted(ready=revived)

    @needs(has_memory=True)
    async def test_an_id_in_use_is_not_revived(self, stage: Stage, process: Process) -> None:
        """A letter whose id another call has, in whichever queue and state, stays; the others are revived."""
        await process.publish_ids("waits", "elsewhere", "ended", "free")
        await _bury_all(stage, process, 4, NOT_KEPT, record=ERROR)
        await process.publish_ids("ended")
        await finish(consumer := await process.consumer(), await stage.fetch(consumer, 1))
        await process.publish_ids("waits")
        await process.publish_ids("elsewhere", queue=OTHER_QUEUE)
        letters = [await _letter(process, id) for id in ("waits", "elsewhere", "free", "ended")]
        answers = await process.transport.revive([Revival(letter, NEXT_LIFE) for letter in letters])
        assert list(answers) == [Revived.TAKEN, Revived.TAKEN, Revived.DONE, Revived.TAKEN]
        assert {letter.id for letter in await process.transport.dead_letters(QUEUE)} == {"waits", "elsewhere", "ended"}
        sighting = await process.look("ended")
        assert sighting is not None
        assert sighting.record == RECORD
        assert await process.counts() == process.counted(ready=2, dead=3)
        assert await process.counts(OTHER_QUEUE) == process.counted(ready=1)

    async def test_a_full_queue_takes_what_is_revived(self, stage: Stage) -> None:
        """A letter goes back also where as many wait as may: whoever revives it wants it run."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
        await process.publish_ids("a")
        await _bury_all(stage, process, 1)
        await process.publish_ids("b")
        assert list(await process.transport.revive([Revival(await _letter(process, "a"), NEXT_LIFE)])) == [Revived.DONE]
        assert await process.counts() == process.counted(ready=2)

    async def test_only_the_letter_that_was_read_is_revived(self, stage: Stage, process: Process) -> None:
        """A letter that was read before its message ran and died again is gone: the new one is another letter."""
        await process.publish_ids("a")
        await _bury_all(stage, process, 1)
        old = await _letter(process, "a")
        assert list(await process.transport.revive([Revival(old, NEXT_LIFE)])) == [Revived.DONE]
        await _bury_all(stage, process, 1)
        assert list(await process.transport.revive([Revival(old, b"")])) == [Revived.GONE]
        assert list(await process.transport.drop_letters([old])) == [False]
        new = await _letter(process, "a")
        assert new.body == NEXT_LIFE
        assert new.place > old.place

    async def test_an_expired_letter_is_gone(self, stage: Stage, process: Process) -> None:
        """A letter whose time is over is neither found nor revived nor dropped."""
        await process.publish_ids("a")
        await _bury_all(stage, process, 1, ttl_ms=400)
        letter = await _letter(process, "a")

        async def is_gone() -> bool:
            return list(await process.transport.find_letters(QUEUE, ["a"])) == [None]

        await stage.until(is_gone, "the letter to expire")
        assert list(await process.transport.revive([Revival(letter, NEXT_LIFE)])) == [Revived.GONE]
        assert list(await process.transport.drop_letters([letter])) == [False]
        assert await process.counts() == NOTHING


async def _letter(process: Process, id: str) -> DeadLetter:
    (letter,) = await process.transport.find_letters(QUEUE, [id])
    assert letter is not None
    return letter


async def _bury_all(
    stage: Stage,
    process: Process,
    count: int,
    outcome: Outcome = FAILED,
    *,
    record: bytes | None = None,
    ttl_ms: int = MINUTE_MS,
) -> None:
    """Let the next messages die, in the order in which they are fetched."""
    consumer = await process.consumer()
    for delivery in await stage.fetch(consumer, count):
        assert await settle_one(consumer, Dead(delivery, outcome, REASON, ttl_ms, record=record))
    assert await consumer.leave() == 0
