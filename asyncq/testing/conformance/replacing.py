"""What is promised of unique keys whose later calls replace the earlier one, or put it off."""

from json import loads

from asyncq.testing.conformance.stage import MINUTE_MS, QUEUE, Process, Stage, settle_one
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.testing.conformance.uniqueness import KEY, unique
from asyncq.transport import Envelope, Owned, Return, Taken

REPLACING = KEY._replace(replaces=True)


@needs(has_uniqueness=True)
class ReplacingSuite(Suite):
    """Calls that wait and become another."""

    async def test_a_batch_that_does_not_agree(self, stage: Stage, process: Process) -> None:
        """Of several of a key in a batch each does what its own term says, whatever the terms of later ones are."""
        putting_off = REPLACING._replace(moves=True)
        due_ms = process.transport.now_ms() + MINUTE_MS
        receipts = await process.publish(
            _fresh(unique("a")), _fresh(unique("b", putting_off, due_ms=due_ms)), _fresh(unique("c"))
        )
        assert list(receipts) == [None, Owned("a", QUEUE), Owned("a", QUEUE)]
        await process.expect_counts(ready=0, scheduled=1)
        due_ms = process.transport.now_ms() + 500
        receipts = await process.publish(
            *(_fresh(unique(id, putting_off, due_ms=due_ms)) for id in "de"), _fresh(unique("f", REPLACING))
        )
        assert list(receipts) == [Owned("a", QUEUE)] * 3
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        assert (delivery.id, delivery.body) == ("a", b'{"v":1,"id":"a","text":"of f"}')
        assert process.transport.now_ms() >= due_ms - 2

    async def test_a_batch_in_which_the_last_id_is_taken(self, stage: Stage, process: Process) -> None:
        """What is said of a call whose id is taken is said of no other of its key."""
        taken = Envelope("c", QUEUE, b"c")
        await process.publish(taken)
        batch = _fresh(unique("a")), _fresh(unique("b", REPLACING)), unique("c", REPLACING)
        assert list(await process.publish(*batch)) == [None, Owned("a", QUEUE), Taken(taken.body, None)]
        deliveries = await stage.fetch(await process.consumer(), 2)
        bodies = {delivery.id: delivery.body for delivery in deliveries}
        assert bodies == {"a": b'{"v":1,"id":"a","text":"of b"}', "c": taken.body}

    async def test_it_replaces_what_waits(self, stage: Stage, process: Process) -> None:
        """A call that waits gets the new body, with its own id in it, in its place; one that runs stays as it is.

        Where the transport keeps no places it stands behind the others.
        """
        consumer = await process.consumer()
        await process.publish(unique("a", REPLACING), Envelope("z", QUEUE, b"z"))
        assert list(await process.publish(unique("bcd", REPLACING))) == [Owned("a", QUEUE)]
        first, other = process.in_line(await stage.fetch(consumer, 2))
        assert (first.id, first.body, other.id) == ("a", b'{"v":1,"id":"a","text":"of bcd"}', "z")
        assert list(await process.publish(unique("e", REPLACING))) == [Owned("a", QUEUE)]
        await settle_one(consumer, Return(first))
        (again,) = await stage.fetch(consumer, 1)
        assert again.body == first.body

    async def test_ids_of_any_text(self, stage: Stage, process: Process) -> None:
        """The id that stands in a replaced body is written as JSON, whatever is in it."""
        id = 'a "/\\ é \x7f \n'
        await process.publish(Envelope(id, QUEUE, b"?", unique=REPLACING))
        assert list(await process.publish(unique("b", REPLACING))) == [Owned(id, QUEUE)]
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        head, _, tail = delivery.body.partition(b',"text":')
        assert (loads(head + b"}"), tail) == ({"v": 1, "id": id}, b'"of b"}')

    async def test_it_is_put_off(self, stage: Stage, process: Process) -> None:
        """A call that waits is due when the last of its key says, wherever it stood; and no later than the longest."""
        now_ms = process.transport.now_ms()
        term = REPLACING._replace(moves=True, longest_ms=2 * MINUTE_MS)
        await process.publish(unique("a", term), *(Envelope(f"z{n}", QUEUE, b"z") for n in range(3)))
        assert list(await process.publish(unique("b", term, due_ms=now_ms + MINUTE_MS))) == [Owned("a", QUEUE)]
        await process.expect_counts(ready=3, scheduled=1)
        await process.publish(unique("c", term, due_ms=now_ms + 9 * MINUTE_MS))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 3) == ["z0", "z1", "z2"]
        assert await consumer.fetch({QUEUE: 9}, 9, wait=False) == []
        sooner_ms = now_ms + 100
        await process.publish(unique("d", term, due_ms=sooner_ms))
        (delivery,) = await stage.fetch(consumer, 1)
        assert process.transport.now_ms() >= sooner_ms - 2
        assert (delivery.id, delivery.body) == ("a", b'{"v":1,"id":"a","text":"of d"}')

    async def test_it_is_put_off_no_longer(self, stage: Stage, process: Process) -> None:
        """From the first call on it waits no longer than the longest, however often it is put off."""
        term = REPLACING._replace(moves=True, longest_ms=500)
        began_ms = process.transport.now_ms()
        for id in "abcd":
            await process.publish(unique(id, term, due_ms=began_ms + MINUTE_MS))
        (delivery,) = await stage.fetch(await process.consumer(), 1)
        assert delivery.id == "a"
        assert process.transport.now_ms() >= began_ms + 500 - 2


def _fresh(envelope: Envelope) -> Envelope:
    return envelope._replace(is_fresh=True)
