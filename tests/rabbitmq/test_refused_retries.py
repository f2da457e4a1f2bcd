"""Dead letters that are to run again while RabbitMQ takes nothing: what is refused has not happened."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asyncq.errors import PublishRefused
from asyncq.rabbitmq import RememberingTransport
from asyncq.rabbitmq.names import Names
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, MINUTE_MS, QUEUE, Process, Stage, finish
from asyncq.transport import Dead, Envelope, Outcome, Revival, Revived
from tests.conformance.backends import Redis
from tests.rabbitmq.backend import RabbitMQ, RememberingRabbitMQ
from tests.rabbitmq_servers import RabbitMQServer

FAILED = b'{"status":"failed"}'


@pytest.fixture(params=["alone", "with a store"])
def backend(request: pytest.FixtureRequest, rabbitmq_url: str, redis_url: str) -> Backend:
    """The shared server, without a store and with one."""
    is_alone = request.param == "alone"
    return RabbitMQ(rabbitmq_url) if is_alone else RememberingRabbitMQ(rabbitmq_url, Redis(redis_url))


async def test_a_retry_that_is_refused_has_not_happened(stage: Stage, rabbitmq_server: RabbitMQServer) -> None:
    """What RabbitMQ does not take stays dead, with its result, and nobody publishes it later; it may be tried again."""
    process = await stage.process()
    consumer = await process.consumer()
    await process.publish_ids("a")
    (delivery,) = await stage.fetch(consumer, 1)
    assert await consumer.settle([Dead(delivery, Outcome(FAILED, MINUTE_MS), "It failed.", MINUTE_MS)]) == [True]
    await consumer.leave()
    (letter,) = await process.transport.dead_letters(QUEUE)
    revival = Revival(letter, b"again")
    async with full(rabbitmq_server, process) as ids:
        with pytest.raises(PublishRefused):
            await process.transport.revive([revival])
        assert [each.id for each in await process.transport.dead_letters(QUEUE)] == ["a"]
        if process.remembers:
            sighting = await process.look("a")
            assert sighting is not None
            assert sighting.record == FAILED
        if isinstance(process.transport, RememberingTransport):
            assert not await process.transport._ledger.orphans(10)
    consumer = await process.consumer()
    assert sorted(await stage.fetch_ids(consumer, len(ids))) == sorted(ids)
    assert not await consumer.fetch(LIMITS, 10, wait=False)
    assert list(await process.transport.revive([revival])) == [Revived.DONE]
    (again,) = await stage.fetch(consumer, 1)
    assert (again.id, again.body) == ("a", b"again")
    await finish(consumer, [again])
    assert not await process.transport.dead_letters(QUEUE)


@asynccontextmanager
async def full(server: RabbitMQServer, process: Process) -> AsyncIterator[list[str]]:
    """Have the server refuse all that is for the queue; gives the ids of what it has taken before."""
    name = f"full-{process.stage.namespace}"
    pattern = f"^{re.escape(Names(process.stage.namespace).queue(QUEUE))}$"
    bounds = '{"max-length": 1, "overflow": "reject-publish"}'
    await asyncio.to_thread(server.control, "set_policy", name, pattern, bounds, "--apply-to", "queues")
    ids: list[str] = []

    async def is_full() -> bool:
        (receipt,) = await process.publish(Envelope(f"filler-{len(ids)}", QUEUE, b"", is_fresh=True))
        if receipt is None:
            ids.append(f"filler-{len(ids)}")
        return isinstance(receipt, PublishRefused)

    await process.stage.until(is_full, "the queue to be full")
    try:
        yield ids
    finally:
        await asyncio.to_thread(server.control, "clear_policy", name)
