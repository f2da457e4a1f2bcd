"""Retelling: a reply that its queue does not take is kept until it does, or nobody waits for it any more."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from asyncq.rabbitmq import retelling
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.confirming import NotTaken
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.retelling import Retelling
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.transport import RabbitTransport
from asyncq.transport import Again, Delivery, Done, Envelope, Outcome
from tests.rabbitmq.publishers import bare_channel, take_ids
from tests.rabbitmq_servers import RabbitMQServer
from tests.waiting import wait_until

FULL, OPEN = "full", "open"

QUEUE = """
{ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),
Pid = amqqueue:get_pid(Queue),
"""


@pytest.fixture
async def client(rabbitmq_url: str, namespace: str) -> AsyncIterator[RabbitClient]:
    """Connections, beside two processes that wait for results: the queue of one takes nothing."""
    names = Names(namespace)
    client = RabbitClient(rabbitmq_url, namespace=namespace, priorities={}, connect_timeout=10, command_timeout=4)
    async with bare_channel(rabbitmq_url) as channel:
        await channel.exchange_declare(names.replies, exchange_type="direct", durable=True)
        for address, arguments in ((FULL, {"x-max-length": 0, "x-overflow": "reject-publish"}), (OPEN, {})):
            await channel.queue_declare(names.reply(address), durable=True, arguments=arguments)
            await channel.queue_bind(names.reply(address), names.replies, address)
    await client.open()
    yield client
    await client.close()


def replies(client: RabbitClient, address: str, ids: Sequence[str], record: bytes = b"{}") -> list[Parcel]:
    """Return what tells a process how calls have ended."""
    return [Parcel(client.wire.reply(address, id, record)) for id in ids]


async def turn_to_next_queue(client: RabbitClient, url: str) -> None:
    """Do what the process does that gives its queue up."""
    names = client.names
    async with bare_channel(url) as channel:
        await channel.queue_declare(names.reply(FULL, 1), durable=True)
        await channel.queue_bind(names.reply(FULL, 1), names.replies, FULL)
        await channel.queue_delete(names.reply(FULL))


@asynccontextmanager
async def running(kept: Retelling) -> AsyncIterator[None]:
    """Let it offer again what it keeps."""
    async with asyncio.TaskGroup() as group:
        doer = group.create_task(kept.run())
        yield
        doer.cancel()


async def test_what_is_not_taken_is_told_later(client: RabbitClient, rabbitmq_url: str) -> None:
    """One process is told all once its queue takes something, in order; neither another one nor who settles waits."""
    sending = Sending(client, lambda: 0)
    kept = Retelling(sending)
    late = replies(client, FULL, ["1", "2", "3"])
    refusals = await sending.send(late)
    assert [type(refusal) for refusal in refusals] == [NotTaken] * 3
    assert kept.part(late) == (late, ())
    kept.put(late, refusals)
    kept.put(replies(client, OPEN, ["8", "9"]), [NotTaken(), NotTaken()])
    told: list[str] = []

    async def is_told(queue: str, ids: list[str]) -> bool:
        told.extend(await take_ids(rabbitmq_url, queue))
        return list(dict.fromkeys(told)) == ids  # what came while the address had two queues is told twice

    async with running(kept):
        await wait_until(lambda: is_told(client.names.reply(OPEN), ["8", "9"]), "the other process to be told")
        told.clear()
        others = replies(client, OPEN, ["7"])
        more = replies(client, FULL, ["4"])
        assert kept.part([*others, *more]) == (others, more)
        kept.keep(more)
        await turn_to_next_queue(client, rabbitmq_url)
        await wait_until(lambda: is_told(client.names.reply(FULL, 1), ["1", "2", "3", "4"]), "all to be told")
        kept.put(replies(client, FULL, ["5"]), [NotTaken()])
        await wait_until(lambda: is_told(client.names.reply(FULL, 1), ["1", "2", "3", "4", "5"]), "one more to be told")


async def test_who_leaves_offers_once_more(
    client: RabbitClient, rabbitmq_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end all is offered for the last time, and what is told to nobody is in the log."""
    kept = Retelling(Sending(client, lambda: 0))
    kept.put(replies(client, FULL, ["1", "2"]), [NotTaken(), NotTaken()])
    kept.put(replies(client, OPEN, ["3", "4"]), [NotTaken(), None])
    await kept.finish()
    assert await take_ids(rabbitmq_url, client.names.reply(OPEN)) == ["3"]
    assert "2 results are told to nobody" in caplog.text


async def test_what_is_kept_is_bounded(
    client: RabbitClient, rabbitmq_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too much, or too old, is dropped; the former is said once."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(retelling, "MAX_BYTES", 3 * (retelling.OVERHEAD + 100))
    kept = Retelling(Sending(client, lambda: 0))
    for number in range(5):
        kept.put(replies(client, OPEN, [f"{number}"], bytes(100)), [NotTaken()])
    assert caplog.text.count("too many wait") == 1
    await kept.finish()
    assert await take_ids(rabbitmq_url, client.names.reply(OPEN)) == ["0", "1", "2"]
    monkeypatch.setattr(retelling, "KEPT", -1.0)
    kept.put(replies(client, FULL, ["5"]), [NotTaken()])
    await kept.finish()
    assert "1 results are told to nobody" in caplog.text
    await turn_to_next_queue(client, rabbitmq_url)
    await kept.finish()
    assert await take_ids(rabbitmq_url, client.names.reply(FULL, 1)) == []


async def test_a_stuck_process_holds_up_nobody(client: RabbitClient, rabbitmq_server: RabbitMQServer) -> None:
    """While a reply queue confirms nothing, ends take effect, what follows is published once, and it is told later."""
    transport = RabbitTransport(client)
    consumer = await transport.consumer("worker", ["default"], lease=30)
    await transport.publish([Envelope("ends", "default", b"1"), Envelope("retried", "default", b"2")])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(consumer.run(lambda _: None))
        deliveries: list[Delivery] = []
        while len(deliveries) < 2:
            deliveries += await consumer.fetch({"default": 10}, 10)
        ends, retried = sorted(deliveries, key=lambda delivery: delivery.id)
        await asyncio.to_thread(rabbitmq_server.evaluate, f"{QUEUE % client.names.reply(OPEN)} sys:suspend(Pid).")
        try:
            settlements = [Done(ends, Outcome(b"{}", 1_000, OPEN)), Again(retried, b"3", 0)]
            assert await consumer.settle(settlements) == [True, True]
            (again,) = await consumer.fetch({"default": 10}, 10)
            assert (again.id, again.body) == ("retried", b"3")
            assert await consumer.settle([Done(again, Outcome(None))]) == [True]
        finally:
            await asyncio.to_thread(rabbitmq_server.evaluate, f"{QUEUE % client.names.reply(OPEN)} sys:resume(Pid).")
        told: list[str] = []

        async def is_told() -> bool:
            told.extend(await take_ids(rabbitmq_server.url, client.names.reply(OPEN)))
            return "ends" in told

        await wait_until(is_told, "the result to be told")
        assert not await consumer.fetch({"default": 10}, 10, wait=False)
        await consumer.leave()
        running.cancel()
