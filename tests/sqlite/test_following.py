"""What follows settlements that go together in one transaction."""

from pathlib import Path

import pytest

from asyncq.transport import Done, Envelope, Outcome
from tests.sqlite.pairs import KEPT, LIMITS, QUEUE, opened

NOT_KEPT = Outcome(None)


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_a_batch_is_settled_in_its_order(tmp_path: Path, is_fresh: bool) -> None:
    """An id that a later settlement of the batch sets free is taken still; one that an earlier one has, is free."""
    async with opened(tmp_path / "queue.db") as pair:
        await pair.publish("a", "b", "c")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        a, b, c = await consumer.fetch(LIMITS, 3)
        then = [Envelope(id, QUEUE, b"new", is_fresh=is_fresh) for id in ("a", "b", "c")]
        assert all(await consumer.settle([Done(a, NOT_KEPT), Done(b, NOT_KEPT, then), Done(c, NOT_KEPT)]))
        deliveries = await consumer.fetch(LIMITS, 10)
        assert [(delivery.id, delivery.body) for delivery in deliveries] == [("a", b"new"), ("b", b"new")]


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_what_two_settlements_publish_is_published_once(tmp_path: Path, is_fresh: bool) -> None:
    """Of two follow-ups with one id in a batch the first is published, beside those whose ids are free."""
    async with opened(tmp_path / "queue.db") as pair:
        await pair.publish("a", "b")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        a, b = await consumer.fetch(LIMITS, 2)
        first, second = (Envelope("next", QUEUE, body, is_fresh=is_fresh) for body in (b"1", b"2"))
        last = Envelope("last", QUEUE, b"3", is_fresh=is_fresh)
        assert all(await consumer.settle([Done(a, KEPT, [first]), Done(b, KEPT, [second, last])]))
        deliveries = await consumer.fetch(LIMITS, 10)
        assert [(delivery.id, delivery.body) for delivery in deliveries] == [("next", b"1"), ("last", b"3")]
