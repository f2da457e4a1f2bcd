"""Consuming: what becomes of messages when queues, channels and connections go, and when a worker is full."""

import asyncio
from contextlib import suppress

import pytest
from aiormq import ChannelNotFoundEntity

from asyncq import Queue
from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq import RabbitReplies
from asyncq.rabbitmq.delays import Rung
from asyncq.rabbitmq.frames import Message
from asyncq.rabbitmq.names import HEADER_DUE, Names
from asyncq.testing.conformance.stage import OTHER_QUEUE, QUEUE, Process, Stage, finish
from asyncq.transport import Done, Envelope, Outcome, Return
from tests.rabbitmq.backend import RabbitMQ
from tests.rabbitmq.publishers import bare_channel, publisher
from tests.rabbitmq_servers import StartRabbitMQ
from tests.waiting import wait_until

MINUTE_MS = 60_000


def names_of(stage: Stage) -> Names:
    """Return how things are called on the server."""
    return Names(stage.namespace)


async def is_there(url: str, queue: str) -> bool:
    """Tell whether there is such a queue."""
    with suppress(ChannelNotFoundEntity):
        async with bare_channel(url) as channel:
            return bool(await channel.queue_declare(queue, passive=True))
    return False


async def consumers_of(url: str, queue: str) -> int:
    """Return how many consumers a queue has."""
    async with bare_channel(url) as channel:
        return (await channel.queue_declare(queue, passive=True)).consumer_count or 0


async def test_a_deleted_queue_is_made_anew(stage: Stage, process: Process, rabbitmq_url: str) -> None:
    """A consumer whose queue is deleted declares it again, and gets what is published then."""
    consumer = await process.consumer()
    fetching = stage.start(stage.fetch(consumer, 1))
    await process.publish_ids("a")
    await stage.outcome(fetching, "the first message")
    name = names_of(stage).queue(QUEUE)
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(name)

    await stage.until(lambda: is_there(rabbitmq_url, name), "the queue to be declared")
    await process.publish_ids("b")
    assert await stage.fetch_ids(consumer, 1) == ["b"]


async def test_what_is_published_to_a_deleted_queue_arrives(stage: Stage, process: Process, rabbitmq_url: str) -> None:
    """Who publishes finds that the queue is not there any more, declares it again, and loses nothing."""
    await process.publish_ids("a")
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(names_of(stage).queue(QUEUE))
    await process.publish_ids("b", "c")
    assert await stage.fetch_ids(await process.consumer(), 2) == ["b", "c"]


async def test_what_is_fetched_without_waiting_while_more_comes(stage: Stage, process: Process) -> None:
    """Who takes a few at a time, and never waits, gets what is there: asking for one disturbs no consumer's stream."""
    await process.publish_ids(*map(str, range(100)))
    consumer = await process.consumer()
    fetched: list[str] = []
    while deliveries := await consumer.fetch({QUEUE: 10_000}, 2, wait=False):
        fetched += [delivery.id for delivery in deliveries]
    assert sorted(fetched, key=int) == [str(number) for number in range(100)]


async def test_a_server_that_is_away_is_waited_for(own_rabbitmq: StartRabbitMQ) -> None:
    """While it is away, fetching and settling say so; what was settled late is not lent again when it is back."""
    server = await asyncio.to_thread(own_rabbitmq)
    stage = Stage(RabbitMQ(server.url))
    try:
        process = await stage.process()
        await process.publish_ids("a")
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        await asyncio.to_thread(server.flush)
        await asyncio.to_thread(server.kill)
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(consumer.fetch({QUEUE: 1}, 1, wait=False), 30)
        await asyncio.to_thread(server.start)
        assert not (await consumer.settle([Done(delivery, Outcome(None))]))[0]

        async def is_gone() -> bool:
            with suppress(BrokerUnavailable):  # it connects again when it comes to it
                assert list(await consumer.fetch({QUEUE: 1}, 1, wait=False)) == []
            return not any((await asyncio.to_thread(server.queues)).values())

        await wait_until(is_gone, "nothing is left")
    finally:
        await stage.close()


async def test_no_more_is_sent_ahead_than_there_are_slots(stage: Stage, process: Process) -> None:
    """What a consumer has no slot for is another one's at once."""
    await process.publish_ids(*"abcdefgh")
    consumer = await process.consumer()
    assert await stage.fetch_ids(consumer, 2, {QUEUE: 2}) == ["a", "b"]
    other = await (await stage.process()).consumer()
    assert await asyncio.wait_for(stage.fetch_ids(other, 6, {QUEUE: 6}), 5) == list("cdefgh")


async def test_who_has_more_slots_than_before_counts_no_crash(stage: Stage, process: Process) -> None:
    """More is sent ahead without an end of what was there: RabbitMQ 4.0 counts what is on its way then as delivered."""
    ids = [str(number) for number in range(200)]
    await process.publish_ids(*ids)
    consumer = await process.consumer()
    fetched = [each for count in (1, 2, 30, 167) for each in await stage.fetch(consumer, count, {QUEUE: count})]
    assert [each.id for each in fetched] == ids
    assert {each.crashes for each in fetched} == {0}


async def test_slots_that_are_free_again_and_again_cost_few_consumers(
    stage: Stage, process: Process, rabbitmq_url: str
) -> None:
    """What has ended here and is not settled yet, or awaits a call, has no slot: one more is sent each time."""
    ids = [str(number) for number in range(120)]
    await process.publish_ids(*ids)
    consumer = await process.consumer()
    assert [id for _ in ids for id in await stage.fetch_ids(consumer, 1, {QUEUE: 1})] == ids
    assert await consumers_of(rabbitmq_url, names_of(stage).queue(QUEUE)) < 25


async def test_a_queue_that_had_several_consumers_is_made_anew(
    stage: Stage, process: Process, rabbitmq_url: str
) -> None:
    """Each of them is told of its end; one that begins then is taken for none of these."""
    await process.publish_ids(*map(str, range(25)))
    consumer = await process.consumer()
    for count in (1, 4, 20):
        await finish(consumer, await stage.fetch(consumer, count, {QUEUE: count}))
    name = names_of(stage).queue(QUEUE)
    assert await consumers_of(rabbitmq_url, name) > 1
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(name)
    await stage.until(lambda: is_there(rabbitmq_url, name), "the queue to be declared")
    ids = [f"again {number}" for number in range(20)]
    await process.publish_ids(*ids)
    assert await stage.fetch_ids(consumer, 20, {QUEUE: 20}) == ids


async def test_what_waits_in_a_full_worker_goes_back(stage: Stage, process: Process) -> None:
    """Of two queues more was sent than there is a slot for: others get it soon, with no crash on its count."""
    await process.publish_ids("a")
    await process.publish_ids("x", queue=OTHER_QUEUE)
    consumer = await process.consumer()
    fetched = await stage.fetch_ids(consumer, 1, {QUEUE: 1, OTHER_QUEUE: 1})
    other = await (await stage.process()).consumer()
    (delivery,) = await stage.fetch(other, 1, {QUEUE: 1, OTHER_QUEUE: 1})
    assert {*fetched, delivery.id} == {"a", "x"}
    assert delivery.crashes == 0


async def test_what_comes_too_early_is_sent_on(stage: Stage, process: Process, rabbitmq_url: str) -> None:
    """A message that leaves the ladder before it is due, as one with a very long delay does, goes through it again."""
    await process.publish_ids("before")
    due_ms = process.transport.now_ms() + 400
    async with publisher(rabbitmq_url) as publishing:
        message = Message(names_of(stage).ready, QUEUE, b"body", "early", {HEADER_DUE: due_ms})
        assert await publishing.publish([message]) == [None]
    consumer = await process.consumer()
    assert await stage.fetch_ids(consumer, 2) == ["before", "early"]
    assert process.transport.now_ms() >= due_ms


async def test_priorities_are_kept_where_they_are_asked_for(stage: Stage) -> None:
    """A queue with priorities gives the largest first, and what is handed back ahead of its equals."""
    process = await stage.process(queues=[Queue(QUEUE, max_priority=5)])
    await process.publish(*(Envelope(f"{priority}-{n}", QUEUE, b"", priority) for n in "ab" for priority in range(6)))
    consumer = await process.consumer()
    (first,) = await stage.fetch(consumer, 1)
    assert (first.id, first.priority) == ("5-a", 5)
    assert list(await consumer.settle([Return(first)])) == [True]
    order = await stage.fetch_ids(consumer, 12)
    assert order == [f"{priority}-{n}" for priority in range(5, -1, -1) for n in "ab"]


async def test_what_is_urgent_holds_up_no_other_delay(stage: Stage) -> None:
    """A call that is due comes out, also when one of a higher priority waits for as long and has begun to later."""
    process = await stage.process(queues=[Queue(QUEUE, max_priority=9)])
    consumer = await process.consumer()
    wait_ms = Rung(3, 3).wait_ms  # in one queue only
    begun_ms = process.transport.now_ms()
    await process.publish(
        Envelope("plain", QUEUE, b"", 0, begun_ms + wait_ms),
        Envelope("meanwhile", QUEUE, b"", 0, begun_ms + wait_ms // 2),
    )
    assert await stage.fetch_ids(consumer, 1) == ["meanwhile"]
    await process.publish(Envelope("urgent", QUEUE, b"", 9, process.transport.now_ms() + wait_ms))
    assert await stage.fetch_ids(consumer, 1) == ["plain"]
    assert await stage.fetch_ids(consumer, 1) == ["urgent"]


async def test_a_classic_queue_counts_a_crash_too(stage: Stage) -> None:
    """Of a queue with priorities the server tells only that a message was lent before: that is one crash."""
    process = await stage.process(queues=[Queue(QUEUE, max_priority=5)])
    await process.publish_ids("a")
    lost = await stage.process(queues=[Queue(QUEUE, max_priority=5)])
    await stage.fetch(await lost.consumer(), 1)
    await lost.close()
    (delivery,) = await stage.fetch(await process.consumer(), 1)
    assert delivery.crashes == 1


async def test_a_lost_reply_queue_is_made_anew(stage: Stage, process: Process, rabbitmq_url: str) -> None:
    """When its queue is deleted, a process is told that it may have missed something, and hears what comes then."""
    reply = await process.listen()
    resyncs = process.resyncs
    assert isinstance(process.store, RabbitReplies)
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(names_of(stage).reply(reply))

    async def is_told() -> bool:
        return process.resyncs > resyncs

    await stage.until(is_told, "the loss to be told")
    await process.publish_ids("a")
    consumer = await process.consumer()
    (delivery,) = await stage.fetch(consumer, 1)

    async def is_heard() -> bool:
        return "a" in process.notices

    await consumer.settle([Done(delivery, Outcome(b"{}", MINUTE_MS, reply))])
    await stage.until(is_heard, "the end to be told")
