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
from tests.rabbitmq.publishers import bare_channel, take_ids
from tests.waiting import wait_until

FULL, OPEN = "full", "open"


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
    assert kept.line_up(late) == late
    kept.put(late, refusals)
    kept.put(replies(client, OPEN, ["8", "9"]), [NotTaken(), NotTaken()])
    told: list[str] = []

    async def is_told(queue: str, ids: list[str]) -> bool:
        told.extend(await take_ids(rabbitmq_url, queue))
        return told == ids

    async with running(kept):
        await wait_until(lambda: is_told(client.names.reply(OPEN), ["8", "9"]), "the other process to be told")
        told.clear()
        others = replies(client, OPEN, ["7"])
        assert kept.line_up([*others, *replies(client, FULL, ["4"])]) == others
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
    kept.put(replies(client, OPEN, ["5"]), [NotTaken()])
    await kept.finish()
    assert await take_ids(rabbitmq_url, client.names.reply(OPEN)) == []
