"""Publishing, when something goes wrong on the way."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from asyncq import Broker, BrokerUnavailable, DuplicateId, MemoryBroker, PublishError, Snooze
from asyncq.broker.bulk import CHUNK_SIZE
from asyncq.memory import MemoryTransport
from asyncq.message import Message
from asyncq.transport import Envelope
from tests.working import working


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_an_id_that_hostile_bytes_have(broker: Broker) -> None:
    """An id that is taken by bytes that are no message is taken by another call; the rest of a batch is published."""

    @broker.task
    async def nothing() -> None: ...

    transport: Any = (await broker.open()).transport
    await transport.publish([Envelope("x", "default", b"\xff no message")])
    with pytest.raises(DuplicateId):
        await nothing.options(id="x").kiq()
    with pytest.raises(PublishError) as caught:
        await broker.kiq_many([nothing.message(), nothing.options(id="x").message(), nothing.message()])
    assert isinstance(caught.value.errors[1], DuplicateId)
    assert sorted(caught.value.handles) == [0, 2]


@pytest.mark.parametrize("when", [0, 10, 500, 700, 1_200])
async def test_a_generator_that_raises(broker: Broker, when: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the caller's own generator comes out of `kiq_many` once nothing is under way any more."""

    @broker.task
    async def echo(number: int) -> int:
        return number

    under_way = 0
    has_raised = asyncio.Event()
    publish = MemoryTransport.publish

    async def watched(transport: MemoryTransport, envelopes: Sequence[Envelope]) -> Any:
        nonlocal under_way
        under_way += 1
        try:
            if when < 2 * CHUNK_SIZE:  # beyond, it is not asked for more before this has ended
                await has_raised.wait()
            return await publish(transport, envelopes)
        finally:
            under_way -= 1

    def messages() -> Iterator[Message]:
        for number in range(when):
            yield echo.message(number)
        has_raised.set()
        raise OSError("the file ended")

    await broker.close()  # what is open already has its transport
    monkeypatch.setattr(MemoryTransport, "publish", watched)
    with pytest.raises(OSError, match="the file ended"):
        await broker.kiq_many(messages())
    assert under_way == 0
    [counts] = await (await broker.open()).transport.counts(["default"])
    assert counts.ready == when // 500 * 500


async def test_something_else_than_messages(broker: Broker) -> None:
    """What is no message, such as a call of `kiq` that was meant as one, is named before anything of it is sent."""

    @broker.task
    async def nothing() -> None: ...

    call: Any = nothing.kiq()
    with pytest.raises(TypeError, match=r"task\.message"):
        await broker.kiq_many([nothing.message(), call])
    call.close()
    [counts] = await (await broker.open()).transport.counts(["default"])
    assert counts.ready == 0


async def test_a_cancelled_batch_leaves_nothing_to_say(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch whose caller is gone does not complain when the rest of it fails."""
    publishing, may_fail = asyncio.Event(), asyncio.Event()

    async def failing(transport: MemoryTransport, envelopes: Sequence[Envelope]) -> Any:
        publishing.set()
        await may_fail.wait()
        raise BrokerUnavailable("down")

    @broker.task
    async def echo(number: int) -> int:
        return number

    await broker.close()  # what is open already has its transport
    monkeypatch.setattr(MemoryTransport, "publish", failing)
    calling = asyncio.create_task(broker.kiq_many(echo.message(number) for number in range(2_000)))
    await publishing.wait()
    calling.cancel()
    await asyncio.wait([calling])
    may_fail.set()
    with pytest.raises(BrokerUnavailable):
        await echo.kiq(1)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_snoozed_call_does_not_expire() -> None:
    """What has started once runs again after its expiry: that bounds the first start only."""
    async with MemoryBroker() as broker:
        runs = 0

        @broker.task(expires=0.2)
        async def twice() -> str:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise Snooze(0.4)
            return "done"

        async with working(broker):
            assert await (await twice.kiq()) == "done"
