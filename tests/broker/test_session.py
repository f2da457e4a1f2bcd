"""Sessions: opening and closing in odd moments, and what is under way then."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from asyncq import BrokerUnavailable, MemoryBroker
from asyncq.memory import MemoryStore, MemoryTransport


def sessions() -> int:
    """Return how many sessions are alive on this loop."""
    return sum(task.get_name() == "asyncq-session" for task in asyncio.all_tasks())


async def test_closed_before_it_was_opened() -> None:
    """Who waits for an opening is told when the broker is closed in the same turn, and the next use opens it."""
    broker = MemoryBroker()
    opening = asyncio.create_task(broker.open())
    closing = asyncio.create_task(broker.close())
    done, _ = await asyncio.wait([opening, closing], timeout=1)
    assert done == {opening, closing}
    assert isinstance(opening.exception(), BrokerUnavailable)
    async with broker:
        assert broker.is_open()


async def test_closed_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for a server that does not answer."""
    connecting = asyncio.Event()

    async def silent(transport: MemoryTransport) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(MemoryTransport, "open", silent)
    broker = MemoryBroker()
    opening = asyncio.create_task(broker.open())
    await connecting.wait()
    async with asyncio.timeout(1):
        await broker.close()
    assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], BrokerUnavailable)


async def test_an_owner_that_was_cancelled() -> None:
    """A broker whose owner task somebody has cancelled closes without cancelling who closes it, and opens again."""
    broker = MemoryBroker()
    await broker.open()
    [owner] = [task for task in asyncio.all_tasks() if task.get_name() == "asyncq-session"]
    owner.cancel()
    await asyncio.wait([owner])
    await broker.close()
    async with broker:
        assert broker.is_open()


async def test_nothing_starts_while_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for the first time while a broker closes cannot keep it from closing."""
    listening, may_listen = asyncio.Event(), asyncio.Event()
    listen = MemoryStore.listen

    async def slow(store: MemoryStore, listener: Any) -> str:
        listening.set()
        await may_listen.wait()
        return await listen(store, listener)

    async def stubborn(store: MemoryStore, *args: Any, **options: Any) -> Sequence[Any]:
        looking.set()
        try:
            await asyncio.Event().wait()
        finally:
            may_listen.set()
            for _ in range(5):
                await asyncio.sleep(0)
        return []

    looking = asyncio.Event()
    monkeypatch.setattr(MemoryStore, "listen", slow)
    monkeypatch.setattr(MemoryStore, "look", stubborn)
    broker = MemoryBroker()
    await broker.open()
    waiting = asyncio.create_task(broker.handle("x").result())
    await listening.wait()
    asking = asyncio.create_task(broker.handle("x").status())
    await looking.wait()
    async with asyncio.timeout(1):
        await broker.close()
    asked = await asyncio.gather(waiting, asking, return_exceptions=True)
    assert [type(error) for error in asked] == [BrokerUnavailable] * 2
