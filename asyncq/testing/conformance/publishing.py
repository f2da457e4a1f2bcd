"""What publishing promises."""

from asyncq.errors import PublishRefused
from asyncq.queues import Queue
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
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Envelope, Outcome, Return, Taken

ANY_BYTES = bytes(range(256)) * 2
IDS = ["plain", "with space", "ключ-🦊-鍵", "a:b{c}d*e?[f]", "'; --", "new\nline", "0"]


class PublishingSuite(Suite):
    """Order, batches, ids that are taken, and queues that are full."""

    async def test_messages_are_fetched_in_the_order_of_publishing(self, stage: Stage, process: Process) -> None:
        """The order within a batch and from batch to batch is the order of fetching, also in parts."""
        await process.publish_ids("a", "b", "c")
        await process.publish_ids("d", "e")
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 2) == ["a", "b"]
        assert await stage.fetch_ids(consumer, 3) == ["c", "d", "e"]

    async def test_a_delivery_is_what_was_published(self, stage: Stage, process: Process) -> None:
        """Id, queue, body and priority arrive as published, with a token, and with no crash behind them."""
        assert list(await process.publish(Envelope("a", OTHER_QUEUE, b"body", 3))) == [None]
        (delivery,) = await stage.fetch(await process.consumer(), 1, {QUEUE: 10, OTHER_QUEUE: 10})
        assert delivery[:4] == ("a", OTHER_QUEUE, b"body", 3)
        assert delivery.token
        assert delivery.crashes == 0

    async def test_bodies_and_ids_are_taken_as_they_are(self, stage: Stage, process: Process) -> None:
        """Ids of any text and bodies of any bytes, none and a megabyte included, come back unchanged."""
        bodies = [ANY_BYTES, b"", b"\0", b"\r\n", b"\xff\xfe", b"x" * 1_000_000, b"{}"]
        published = list(zip(IDS, bodies, strict=True))
        receipts = await process.publish(*(Envelope(id, QUEUE, body) for id, body in published))
        assert list(receipts) == [None] * len(published)
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, len(published))
        assert [(delivery.id, delivery.body) for delivery in deliveries] == published
        await finish(consumer, deliveries)
        if process.remembers:
            sightings = [await process.look(id) for id in IDS]
            assert [sighting and sighting.record for sighting in sightings] == [RECORD] * len(IDS)

    async def test_an_empty_batch_is_no_trouble(self, process: Process) -> None:
        """Publishing nothing returns nothing."""
        assert list(await process.publish()) == []

    async def test_a_batch_of_a_thousand_is_published_whole(self, stage: Stage, process: Process) -> None:
        """A thousand messages in one batch, over two queues, are all there and in order."""
        queues = [QUEUE, OTHER_QUEUE]
        receipts = await process.publish(*(Envelope(str(n), queues[n % 2], b"") for n in range(1000)))
        assert list(receipts) == [None] * 1000
        consumer = await process.consumer()
        for n, queue in enumerate(queues):
            assert await stage.fetch_ids(consumer, 500, {queue: 1000}) == [str(id) for id in range(n, 1000, 2)]

    @needs(has_memory=True)
    async def test_publishing_twice_finds_itself(self, stage: Stage, process: Process) -> None:
        """An id that is published again, in the same batch or a later one, is taken by the first message."""
        first = Envelope("a", QUEUE, b"first")
        again = Envelope("a", QUEUE, b"again")
        assert list(await process.publish(first, again)) == [None, Taken(b"first", None)]
        assert list(await process.publish(again, Envelope("b", QUEUE, b""))) == [Taken(b"first", None), None]
        consumer = await process.consumer()
        assert [delivery.body for delivery in await stage.fetch(consumer, 2)] == [b"first", b""]
        assert await consumer.fetch({QUEUE: 10}, 10, wait=False) == []

    @needs(has_memory=True)
    async def test_a_fresh_id_is_found_by_a_later_publish(self, process: Process) -> None:
        """An envelope with a fresh id is published as any other: who publishes the id again finds it."""
        assert list(await process.publish(Envelope("a", QUEUE, b"first", is_fresh=True))) == [None]
        assert list(await process.publish(Envelope("a", QUEUE, b"again"))) == [Taken(b"first", None)]

    @needs(has_memory=True)
    async def test_an_id_is_taken_while_its_message_is_scheduled(self, process: Process) -> None:
        """A message that is not due yet has its id already."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + MINUTE_MS)
        assert list(await process.publish(Envelope("a", QUEUE, b"again"))) == [Taken(body_of("a"), None)]

    @needs(has_memory=True)
    async def test_an_id_is_taken_while_its_message_runs_and_waits_for_a_retry(
        self, stage: Stage, process: Process
    ) -> None:
        """A message that is lent out has its id; so has its next attempt, whose body is then the one that is found."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert list(await process.publish(Envelope("a", QUEUE, b"again"))) == [Taken(body_of("a"), None)]
        assert await settle_one(consumer, Again(delivery, b"retry", process.transport.now_ms() + MINUTE_MS))
        assert list(await process.publish(Envelope("a", QUEUE, b"again"))) == [Taken(b"retry", None)]

    @needs(has_memory=True)
    async def test_an_id_is_taken_while_its_result_is_kept(self, stage: Stage, process: Process) -> None:
        """A kept record takes the id, also for another process; when its time is over the id is free."""
        other = await stage.process()
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), Outcome(RECORD, ttl_ms=1000))
        assert list(await other.publish(Envelope("a", QUEUE, b"again"))) == [Taken(None, RECORD)]

        async def is_published() -> bool:
            return list(await other.publish(Envelope("a", QUEUE, b"again"))) == [None]

        await stage.until(is_published, "the id to be free when its record has expired")
        assert [delivery.body for delivery in await stage.fetch(consumer, 1)] == [b"again"]

    async def test_an_id_is_free_when_nothing_is_kept_of_its_call(self, stage: Stage, process: Process) -> None:
        """An id can be published again when its call has ended without a record."""
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1), NOT_KEPT)
        await process.publish_ids("a")
        assert await stage.fetch_ids(consumer, 1) == ["a"]

    @needs(counts_running=True)
    async def test_a_full_queue_refuses(self, stage: Stage) -> None:
        """What exceeds `max_length` is refused by a receipt that names the queue; other queues go on."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=2), Queue(OTHER_QUEUE)])
        a, b, refused, other = await process.publish(
            Envelope("a", QUEUE, b""),
            Envelope("b", QUEUE, b"", due_ms=process.transport.now_ms() + MINUTE_MS),
            Envelope("c", QUEUE, b""),
            Envelope("d", OTHER_QUEUE, b""),
        )
        assert (a, b, other) == (None, None, None)
        assert isinstance(refused, PublishRefused)
        assert QUEUE in str(refused)
        if process.remembers:
            assert await process.look("c") is None

    @needs(has_memory=True)
    async def test_a_full_queue_still_finds_what_is_in_it(self, stage: Stage) -> None:
        """An id that is in a full queue is taken, not refused, so that publishing again stays safe."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
        await process.publish_ids("a")
        assert list(await process.publish(Envelope("a", QUEUE, b""))) == [Taken(body_of("a"), None)]

    async def test_what_runs_does_not_fill_a_queue(self, stage: Stage) -> None:
        """`max_length` counts what waits: lending a message out makes room."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
        await process.publish_ids("a")
        consumer = await process.consumer()
        await stage.fetch(consumer, 1)
        await process.publish_ids("b")
        (refused,) = await process.publish(Envelope("c", QUEUE, b""))
        assert isinstance(refused, PublishRefused)

    async def test_a_full_queue_takes_back_what_it_lent(self, stage: Stage) -> None:
        """Neither a hand-back nor a next attempt is refused by a full queue."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=2)])
        await process.publish_ids("a", "b")
        consumer = await process.consumer()
        a, b = await stage.fetch(consumer, 2)
        await process.publish_ids("c", "d")
        assert list(await consumer.settle([Return(a), Again(b, b"retry", 0)])) == [True, True]
        assert sorted(await stage.fetch_ids(consumer, 4)) == ["a", "b", "c", "d"]

    @needs(has_memory=True, counts_calls=True)
    async def test_a_withdrawn_message_makes_room(self, stage: Stage) -> None:
        """A queue that is full takes another message for each that is withdrawn."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=1)])
        await process.publish_ids("a")
        assert await process.transport.withdraw("a", QUEUE, KEPT)
        await process.publish_ids("b")
