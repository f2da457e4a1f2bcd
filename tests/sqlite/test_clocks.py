"""A clock that is set, under a file whose times it tells."""

import asyncio
from pathlib import Path

from asyncq.sqlite import SQLiteDatabase, SQLiteTransport
from asyncq.testing import MovableClock
from asyncq.transport import Envelope
from tests.sqlite.pairs import LIMITS, QUEUE


async def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """What is due, and what a dead consumer held, comes so much later as the clock was set back; nothing is lost."""
    clock = MovableClock()
    transport = SQLiteTransport(SQLiteDatabase(tmp_path / "queue.db"), namespace="test", clock=clock)
    await transport.open()
    await transport.publish([Envelope("held", QUEUE, b""), Envelope("due", QUEUE, b"", due_ms=clock.now_ms() + 5_000)])
    dead = await transport.consumer("dead", [QUEUE], lease=10)
    assert [delivery.id for delivery in await dead.fetch(LIMITS, 10)] == ["held"]

    clock.move(-600)
    living = await transport.consumer("living", [QUEUE], lease=10)
    lease = living.lease()
    assert await asyncio.to_thread(lease.next_end) == 610
    assert await asyncio.to_thread(lease.reclaim) == {}
    assert list(await living.fetch(LIMITS, 10, wait=False)) == []

    clock.move(605)
    assert [delivery.id for delivery in await living.fetch(LIMITS, 10, wait=False)] == ["due"]
    assert await asyncio.to_thread(lease.renew)
    clock.move(5)
    assert await asyncio.to_thread(lease.reclaim) == {"dead": 1}
    assert [delivery.id for delivery in await living.fetch(LIMITS, 10)] == ["held"]
    await asyncio.to_thread(lease.close)
    await transport.close()
