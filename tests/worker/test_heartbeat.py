"""When a heartbeat may take over from others."""

import asyncio
import sys
import time
from collections.abc import Mapping

import pytest

from asyncq import MemoryBroker
from asyncq.transport import Lease
from asyncq.worker.heartbeat import Heartbeat
from tests.waiting import wait_until
from tests.working import working

LEASE = 0.3


class FreezingLease(Lease):
    """A lease at a server that freezes once, for two leases; so another's lease, renewed in time before, runs out."""

    def __init__(self, freezes_in: str) -> None:
        self._freezes_in = freezes_in
        self._frozen_at = 0.0
        self.calls: list[str] = []

    def renew(self, about: bytes | None = None) -> bool:
        self._call("renew")
        return True

    def next_end(self) -> float | None:
        self._call("next_end")
        is_just_thawed = self._frozen_at > 0 and time.monotonic() < self._frozen_at + 2.5 * LEASE
        return -LEASE if is_just_thawed else LEASE

    def reclaim(self) -> Mapping[str, int]:
        self._call("reclaim")
        return {}

    def close(self) -> None: ...

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._freezes_in and "next_end" in self.calls and not self._frozen_at:
            self._frozen_at = time.monotonic()
            time.sleep(2 * LEASE)  # the frost itself


@pytest.mark.parametrize("freezes_in", ["renew", "next_end"])
async def test_server_that_freezes(freezes_in: str) -> None:
    """A server that froze past everybody's lease and went on without an error: nobody is taken for dead."""
    lease = FreezingLease(freezes_in)
    heartbeat = Heartbeat(lease, seconds=LEASE, max_block=60, lost=lambda: None, failed=lambda _: None)
    heartbeat.start()
    await wait_until(lambda: lease.calls.count("next_end") == 3, "it has judged again")
    await heartbeat.stop()
    assert "reclaim" not in lease.calls


class SteppedLease(Lease):
    """A lease told by a clock that is set ahead by minutes once; the other's lease was renewed just before."""

    def __init__(self) -> None:
        self._step = 0.0
        self._ends_at = time.monotonic() + 3 * LEASE
        self.calls: list[str] = []

    def renew(self, about: bytes | None = None) -> bool:
        self.calls.append("renew")
        return True

    def next_end(self) -> float | None:
        self.calls.append("next_end")
        if self.calls.count("next_end") == 2:
            self._step = 600.0
        if self.calls[-2:] == ["renew", "next_end"] and self._step and self.calls.count("next_end") > 2:
            self._ends_at, self._step = time.monotonic() + 3 * LEASE, 0.0  # the other has had time to renew
        return self._ends_at - time.monotonic() - self._step

    def reclaim(self) -> Mapping[str, int]:
        self.calls.append("reclaim")
        return {}

    def close(self) -> None: ...


async def test_clock_that_is_set() -> None:
    """When the clock that tells the leases jumps ahead, nobody is taken for dead: everybody gets to renew first."""
    lease = SteppedLease()
    heartbeat = Heartbeat(lease, seconds=LEASE, max_block=60, lost=lambda: None, failed=lambda _: None)
    heartbeat.start()
    await wait_until(lambda: lease.calls.count("next_end") == 4, "it has judged again")
    await heartbeat.stop()
    assert "reclaim" not in lease.calls


async def test_who_blocks_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """What a task has started is named with its call, where Python tells; its file and line always are."""
    async with MemoryBroker() as broker:

        @broker.task(name="outer")
        async def outer() -> None:
            async def inner() -> None:
                time.sleep(2.5)  # noqa: ASYNC251 - that is the test

            await asyncio.create_task(inner(), name="started")

        async with working(broker):
            handle = await outer.kiq()
            await handle
    [line] = [line for line in caplog.messages if "has been blocked for 1." in line]
    assert (f"by task outer {handle.id} (started), file" in line) is (sys.version_info >= (3, 12))
    assert f"started{')' * (sys.version_info >= (3, 12))}, file {__file__}, line " in line
    assert line.endswith(".inner")
