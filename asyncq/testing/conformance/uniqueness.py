"""What is promised to those whose calls have a key to themselves, from its taking to its end."""

import asyncio

import pytest

from asyncq.errors import PublishRefused
from asyncq.queues import Queue
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    Process,
    Stage,
    body_of,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import (
    Again,
    Dead,
    Envelope,
    Outcome,
    Owned,
    Return,
    Revival,
    Revived,
    Taken,
    UniqueTerm,
)

KEY = UniqueTerm("import:7")
AT_START = KEY._replace(ends_at_start=True)
FOR_A_SECOND = KEY._replace(ttl_ms=1_000)
BURIED = Outcome(RECORD, MINUTE_MS)


def unique(id: str, term: UniqueTerm = KEY, *, queue: str = QUEUE, due_ms: int = 0) -> Envelope:
    """Return a message with a key, whose body holds its id as a message does."""
    body = b'{"v":1,"id":"%b","text":"of %b"}' % (id.encode(), id.encode())
    return Envelope(id, queue, body, due_ms=due_ms, unique=term._replace(id_at=(12, 14 + len(id))))


@needs(has_uniqueness=True)
class UniquenessSuite(Suite):
    """Keys that one call has to itself."""

    async def test_the_second_is_told_of_the_first(self, stage: Stage, process: Process) -> None:
        """A key is the first call's, wherever it is published from and in whatever queue; another key is free."""
        other = await stage.process()
        assert list(await process.publish(unique("a"))) == [None]
        assert list(await other.publish(unique("b"), unique("c", queue=OTHER_QUEUE))) == [Owned("a", QUEUE)] * 2
        assert list(await other.publish(unique("d", UniqueTerm("import:8")))) == [None]
        assert await stage.fetch_ids(await process.consumer(), 2, {QUEUE: 9, OTHER_QUEUE: 9}) == ["a", "d"]

    async def test_within_a_batch(self, stage: Stage, process: Process) -> None:
        """A batch is read in its order: the first of a key is published, and what has none stays in its place."""
        receipts = await process.publish(
            unique("a"), Envelope("b", QUEUE, b"b"), unique("c"), Envelope("d", QUEUE, b"d", is_fresh=True)
        )
        assert list(receipts) == [None, None, Owned("a", QUEUE), None]
        assert await stage.fetch_ids(await process.consumer(), 3) == ["a", "b", "d"]

    async def test_many_at_once(self, stage: Stage, process: Process) -> None:
        """Of many that are published at once by several processes one is published, and all others name it."""
        processes = [process, *[await stage.process() for _ in range(3)]]
        batches = [[unique(f"{n}-{i}") for i in range(25)] for n in range(len(processes))]
        pairs = zip(processes, batches, strict=True)
        found = await asyncio.gather(*(each.publish(*batch) for each, batch in pairs))
        receipts = [receipt for some in found for receipt in some]
        ids = [envelope.id for batch in batches for envelope in batch]
        (first,) = [id for id, receipt in zip(ids, receipts, strict=True) if receipt is None]
        assert receipts.count(Owned(first, QUEUE)) == len(ids) - 1
        await process.expect_counts(ready=1)
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == [first]
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False) == []

    async def test_the_id_comes_first(self, process: Process) -> None:
        """A message that is published again finds itself, by its id; one that is refused for its id takes no key."""
        await process.publish_ids("x")
        (receipt,) = await process.publish(unique("x"))
        assert receipt == Taken(body_of("x"), None)
        assert list(await process.publish(unique("a"))) == [None]
        (receipt,) = await process.publish(unique("a"))
        assert isinstance(receipt, Taken)

    async def test_a_full_queue_takes_no_key(self, stage: Stage) -> None:
        """What a full queue refuses has no key; a duplicate needs no room."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
        assert list(await process.publish(unique("a"))) == [None]
        owned, refused = await process.publish(unique("b"), unique("c", UniqueTerm("import:8")))
        assert owned == Owned("a", QUEUE)
        assert isinstance(refused, PublishRefused)
        await finish(consumer := await process.consumer(), await stage.fetch(consumer, 1))
        assert list(await process.publish(unique("c", UniqueTerm("import:8")))) == [None]

    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT], ids=["kept", "not kept"])
    async def test_the_end_gives_it_back(self, stage: Stage, process: Process, outcome: Outcome) -> None:
        """A call keeps its key while it waits, runs and is tried again, and gives it back in the step that ends it."""
        consumer = await process.consumer()
        await process.publish(unique("a"))
        (delivery,) = await stage.fetch(consumer, 1)
        assert list(await process.publish(unique("b"))) == [Owned("a", QUEUE)]
        await settle_one(consumer, Again(delivery, delivery.body, 0))
        assert list(await process.publish(unique("b"))) == [Owned("a", QUEUE)]
        (delivery,) = await stage.fetch(consumer, 1)
        await settle_one(consumer, Return(delivery))
        await finish(consumer, await stage.fetch(consumer, 1), outcome)
        assert list(await process.transport.unique_keys("", limit=9)) == []
        assert list(await process.publish(unique("b"))) == [None]

    async def test_the_start_gives_it_back(self, stage: Stage, process: Process) -> None:
        """One that ends at the start is free once the call is lent; what is handed back or tried again takes it not."""
        consumer = await process.consumer()
        await process.publish(unique("a", AT_START))
        assert list(await process.publish(unique("b", AT_START))) == [Owned("a", QUEUE)]
        (first,) = await stage.fetch(consumer, 1)
        assert list(await process.publish(unique("b", AT_START))) == [None]
        await settle_one(consumer, Again(first, first.body, 0))
        both = await stage.fetch(consumer, 2)
        assert sorted(delivery.id for delivery in both) == ["a", "b"]
        await finish(consumer, both)
        assert list(await process.transport.unique_keys("", limit=9)) == []

    async def test_the_end_of_the_first_leaves_the_key_of_the_second(self, stage: Stage, process: Process) -> None:
        """A call that has given its key back at its start takes it from nobody when it ends."""
        consumer = await process.consumer()
        await process.publish(unique("a", AT_START))
        first = await stage.fetch(consumer, 1)
        await process.publish(unique("b", AT_START))
        await finish(consumer, first)
        assert list(await process.publish(unique("c", AT_START))) == [Owned("b", QUEUE)]

    async def test_a_time(self, stage: Stage, process: Process) -> None:
        """A key with a time is kept for that, whatever has become of its call, and then is free."""
        consumer = await process.consumer()
        await process.publish(unique("a", FOR_A_SECOND))
        await finish(consumer, await stage.fetch(consumer, 1), NOT_KEPT)
        assert list(await process.publish(unique("b", FOR_A_SECOND))) == [Owned("a", QUEUE)]
        (owner,) = await process.transport.unique_keys("", limit=9)
        assert owner.ends_ms - owner.taken_ms == pytest.approx(1_000, abs=50)
        await stage.backend.pass_time(1.1)
        assert list(await process.transport.unique_keys("", limit=9)) == []
        assert list(await process.publish(unique("b", FOR_A_SECOND))) == [None]

    async def test_a_withdrawal_gives_it_back(self, stage: Stage, process: Process) -> None:
        """So does whoever ends a call from outside, while it waits, is scheduled, or runs."""
        consumer = await process.consumer()
        later_ms = process.transport.now_ms() + MINUTE_MS
        for id, due_ms, is_lent in (("a", 0, False), ("b", later_ms, False), ("c", 0, True)):
            assert list(await process.publish(unique(id, due_ms=due_ms))) == [None]
            if is_lent:
                await stage.fetch(consumer, 1)
            assert await process.transport.withdraw(id, QUEUE, KEPT, even_running=True)
            assert list(await process.transport.unique_keys("", limit=9)) == []

    async def test_a_crash_keeps_it(self, stage: Stage, process: Process) -> None:
        """What a dead consumer held has its key still, is lent again, and gives it back when it ends."""
        dead = await process.consumer()
        await process.publish(unique("a"))
        await stage.fetch(dead, 1)
        assert await process.transport.release([dead.name]) == 1
        assert list(await process.publish(unique("b"))) == [Owned("a", QUEUE)]
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1))
        assert list(await process.publish(unique("b"))) == [None]

    async def test_death_and_revival(self, stage: Stage, process: Process) -> None:
        """A dead letter has no key. Its revival takes the key anew, and is refused where it is another call's."""
        consumer = await process.consumer()
        await process.publish(unique("a"))
        (delivery,) = await stage.fetch(consumer, 1)
        await settle_one(consumer, Dead(delivery, BURIED, "no", MINUTE_MS))
        assert list(await process.publish(unique("b"))) == [None]
        (letter,) = await process.transport.dead_letters(QUEUE)
        revival = Revival(letter, letter.body, unique=KEY)
        assert list(await process.transport.revive([revival])) == [Revived.TAKEN]
        await finish(consumer, await stage.fetch(consumer, 1))
        assert list(await process.transport.revive([revival])) == [Revived.DONE]
        assert list(await process.publish(unique("c"))) == [Owned("a", QUEUE)]
        await finish(consumer, await stage.fetch(consumer, 1))
        assert list(await process.publish(unique("c"))) == [None]

    async def test_a_revival_meets_its_own_key(self, stage: Stage, process: Process) -> None:
        """A letter whose key has a time that is not over has it still: it runs again."""
        consumer = await process.consumer()
        term = KEY._replace(ttl_ms=MINUTE_MS)
        await process.publish(unique("a", term))
        (delivery,) = await stage.fetch(consumer, 1)
        await settle_one(consumer, Dead(delivery, BURIED, "no", MINUTE_MS))
        (letter,) = await process.transport.dead_letters(QUEUE)
        assert list(await process.transport.revive([Revival(letter, letter.body, unique=term)])) == [Revived.DONE]

    async def test_keys_are_listed_and_cleared(self, stage: Stage, process: Process) -> None:
        """Keys are listed by how they begin, in alphabetical order, with their owners; a cleared one is free."""
        texts = ["a:1", "a:2", "a*:3", "b:1", "a:[é]"]
        await process.publish(*(unique(f"id {n}", UniqueTerm(text)) for n, text in enumerate(texts)))
        listed = await process.transport.unique_keys("a:", limit=9)
        assert [(each.key, each.id, each.queue, each.ends_ms) for each in listed] == [
            ("a:1", "id 0", QUEUE, 0),
            ("a:2", "id 1", QUEUE, 0),
            ("a:[é]", "id 4", QUEUE, 0),
        ]
        assert [each.key for each in await process.transport.unique_keys("a*", limit=9)] == ["a*:3"]
        assert len(await process.transport.unique_keys("", limit=2)) == 2
        assert await process.transport.clear_unique("a:1")
        assert not await process.transport.clear_unique("a:1")
        assert list(await process.publish(unique("new", UniqueTerm("a:1")))) == [None]
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 6)
        await finish(consumer, [each for each in deliveries if each.id == "id 0"])
        assert list(await process.publish(unique("newer", UniqueTerm("a:1")))) == [Owned("new", QUEUE)]

    async def test_a_lease_that_ran_out(self, stage: Stage, process: Process) -> None:
        """A settlement that comes too late gives back no key of the run that lives."""
        late = await process.consumer(lease=LEASE)
        await process.publish(unique("a"))
        (old,) = await stage.fetch(late, 1)
        other = await process.consumer()
        assert await process.transport.release([late.name]) == 1
        await stage.fetch(other, 1)
        assert not await settle_one(late, Return(old))
        assert list(await process.publish(unique("b"))) == [Owned("a", QUEUE)]
