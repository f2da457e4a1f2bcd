"""Waiters, where notices, outages and expiry cross."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from asyncq import BrokerUnavailable, MemoryBroker, ResultMissing, Status
from asyncq.memory import MemoryStore
from asyncq.message import decode_message
from asyncq.store import CallKey
from asyncq.transport import Done, Envelope, Outcome
from tests.waiting import wait_for_waits, wait_until
from tests.working import working

SOON = 3
"""Seconds that are well below those between two safety looks."""


async def test_an_outage_at_the_moment_of_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a call that expires during an outage learns it after the outage, also when no worker runs."""
    look = MemoryStore.look
    is_down = False
    refused = asyncio.Event()

    async def interrupted(store: MemoryStore, keys: Sequence[CallKey], **options: Any) -> Any:
        if is_down:
            refused.set()
            raise BrokerUnavailable("down")
        return await look(store, keys, **options)

    monkeypatch.setattr(MemoryStore, "look", interrupted)
    async with MemoryBroker() as broker:

        @broker.task(expires=0.1)
        async def nothing() -> None: ...

        handle = await nothing.kiq()
        waiting = asyncio.create_task(handle.result())
        assert await handle.status() is Status.QUEUED
        is_down = True
        await refused.wait()
        is_down = False
        async with asyncio.timeout(SOON):
            assert (await waiting).status is Status.EXPIRED


async def test_a_handle_outlives_its_session() -> None:
    """A handle from before the broker was closed learns of the end at once, though it was promised to be told."""
    broker = MemoryBroker()

    @broker.task
    async def echo(number: int) -> int:
        return number

    async with broker:
        with pytest.raises(TimeoutError):
            await (await echo.kiq(0)).result(timeout=0.01)
        handle = await echo.kiq(1)
        assert handle.is_told
    async with broker:
        other = asyncio.create_task((await echo.kiq(2)).result())
        await wait_for_waits(broker)
        async with working(broker, burst=True):
            pass
        async with asyncio.timeout(SOON):
            await other
            assert await handle == 1


async def test_a_result_that_was_told_without_its_value() -> None:
    """Who begins to wait after a notice that holds no value looks at once, instead of waiting for another one."""
    async with MemoryBroker() as broker:

        @broker.task
        async def nothing() -> None: ...

        first = await nothing.kiq()
        with pytest.raises(TimeoutError):
            await first.result(timeout=0.01)
        handle = await nothing.kiq()
        assert handle.is_told
        transport: Any = (await broker.open()).transport
        consumer = await transport.consumer("by hand", ["default"], lease=60)
        deliveries = await consumer.fetch({"default": 10}, 10)
        await consumer.settle([Done(each, Outcome(None, reply=decode_message(each.body).reply)) for each in deliveries])
        await wait_until(lambda: not handle.is_told, "the notice has come")
        # Another wait is there, so that the safety look does not come with this one.
        other = asyncio.create_task((await nothing.kiq()).result())
        await wait_for_waits(broker)
        async with asyncio.timeout(SOON):
            with pytest.raises(ResultMissing):
                await handle
        other.cancel()
        await asyncio.wait([other])
        await consumer.leave()


async def test_a_look_before_a_call_is_published() -> None:
    """Who waits for an id that is not published yet is told nothing by a look at all that is waited for."""
    async with MemoryBroker() as broker:

        @broker.task
        async def echo(number: int) -> int:
            return number

        waiting = asyncio.create_task(echo.handle("late").result(wait_for_publish=30))
        await wait_for_waits(broker)
        waiters: Any = (await broker.open()).waiters
        waits = waiters._waits
        waiters._doubt_all()  # as each few seconds, and after an outage
        await wait_until(lambda: not waits._unsure and not waits.has_work.is_set(), "all are looked at")
        await echo.options(id="late").kiq(7)
        async with working(broker, burst=True), asyncio.timeout(SOON):
            assert (await waiting).value == 7
        assert not waits._hoping


async def test_many_expiring_calls() -> None:
    """What is remembered of calls that expire does not grow with those that have ended."""
    async with MemoryBroker() as broker:

        @broker.task(expires=3600)
        async def nothing() -> None: ...

        async def call() -> None:
            await (await nothing.options(expires=7200).kiq())

        blocked = await nothing.options(delay=60).kiq()
        waiting = asyncio.create_task(blocked.result())
        async with working(broker):
            for _ in range(10):
                await asyncio.gather(*[call() for _ in range(100)])
        waiters: Any = (await broker.open()).waiters
        assert len(waiters._waits._expiries) < 300
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_hostile_times() -> None:
    """A message that nobody can read does not disturb those who wait for it or for others."""
    async with MemoryBroker() as broker:

        @broker.task
        async def nothing() -> None: ...

        transport: Any = (await broker.open()).transport
        body = b'{"v":1,"id":"x","task":"t","expires_ms":' + b"9" * 400 + b"}"
        await transport.publish([Envelope("x", "default", body)])
        waiting = asyncio.create_task(broker.handle("x").result())
        assert await broker.handle("x").status() is Status.QUEUED
        async with working(broker):
            await (await nothing.kiq())
            assert (await waiting).status is Status.FAILED


async def test_a_worker_that_keeps_no_result() -> None:
    """Who waits is told at once that there is no result where only the worker's declaration says so."""
    broker = MemoryBroker()

    @broker.task(name="work")
    async def published() -> None: ...

    async with broker:
        with pytest.raises(TimeoutError):
            await (await published.kiq()).result(timeout=0.01)
        handle = await published.kiq()
        assert handle.is_told
        waiting = asyncio.create_task(handle.result())
        await wait_for_waits(broker)
        broker.task(name="work", store_result=False)(published.function)
        async with working(broker, burst=True):
            pass
        async with asyncio.timeout(SOON):
            with pytest.raises(ResultMissing):
                await waiting
