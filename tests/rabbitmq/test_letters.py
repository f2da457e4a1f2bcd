"""Dead letters: what several see at the same time, and what does not fit into a header."""

import asyncio

import pytest

from asyncq.rabbitmq.names import Names
from asyncq.testing.conformance.stage import MINUTE_MS, NOT_KEPT, QUEUE, Process, Stage
from asyncq.transport import Dead
from tests.rabbitmq.publishers import bare_channel


async def bury(stage: Stage, process: Process, *ids: str, record: bytes = b"{}") -> None:
    """Let calls die."""
    await process.publish_ids(*ids)
    consumer = await process.consumer()
    deliveries = await stage.fetch(consumer, len(ids))
    letters = [Dead(delivery, NOT_KEPT, "It failed.", MINUTE_MS, record=record) for delivery in deliveries]
    assert all(await consumer.settle(letters))
    await consumer.leave()


async def test_everybody_sees_all_letters(stage: Stage) -> None:
    """Who looks takes all letters for a moment; others who look then, from elsewhere too, still see all of them."""
    process = await stage.process()
    await bury(stage, process, *map(str, range(20)))
    lookers = [process.transport, process.transport, (await stage.process()).transport]
    seen = await asyncio.gather(*(looker.dead_letters(QUEUE) for looker in lookers))
    assert [[letter.id for letter in letters] for letters in seen] == [[str(n) for n in range(19, -1, -1)]] * 3
    assert (await process.counts()).dead == 20


async def test_a_letter_that_was_published_twice_is_one(stage: Stage) -> None:
    """Of a call that was buried twice the newest letter is seen, and after that only one is there."""
    process = await stage.process()
    await bury(stage, process, "a", record=b"first")
    await bury(stage, process, "b")
    await bury(stage, process, "a", record=b"second")
    letters = await process.transport.dead_letters(QUEUE)
    assert [(letter.id, letter.record) for letter in letters] == [("a", b"second"), ("b", b"{}")]
    assert (await process.counts()).dead == 2


@pytest.mark.parametrize("size", [0, 1, 900_000])
async def test_a_record_may_be_larger_than_a_frame(stage: Stage, size: int) -> None:
    """A letter has the whole record, and the message as it was."""
    process = await stage.process()
    await bury(stage, process, "a", record=b"x" * size)
    (letter,) = await process.transport.dead_letters(QUEUE)
    assert (letter.body, letter.record) == (b"body of a", b"x" * size)


async def test_what_the_server_puts_aside_is_a_letter(stage: Stage, rabbitmq_url: str) -> None:
    """A message that reached the dead letters without a worker has its body, a reason and a time."""
    process = await stage.process()
    await bury(stage, process, "a")
    async with bare_channel(rabbitmq_url) as channel:
        await channel.basic_publish(b"body", exchange=Names(stage.namespace).dead, routing_key=QUEUE)
    (letter,) = [each for each in await process.transport.dead_letters(QUEUE) if each.id != "a"]
    assert (letter.body, letter.record) == (b"body", None)
    assert "delivered again and again" in letter.reason
