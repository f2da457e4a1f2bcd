"""When lines are asked for."""

import asyncio
import time
from typing import Any, cast

import pytest

from asyncq.rabbitmq.turning import Turning


async def test_a_clock_that_is_set_back_puts_off_the_question() -> None:
    """It is told when the line is due by the clock as it is then, and not before, when nobody would ask."""
    behind_ms = 0
    told = asyncio.Event()

    def now_ms() -> int:
        return round(time.monotonic() * 1000) - behind_ms

    nobody = cast(Any, None)
    turning = Turning(nobody, nobody, ["mail"], now_ms, told.set)
    due_ms = now_ms() + 50
    turning.expect(due_ms)
    behind_ms = 200
    async with asyncio.timeout(30):
        await told.wait()
    assert now_ms() >= due_ms


async def test_a_clock_that_is_set_back_while_nobody_fetches() -> None:
    """What was told then is told again, to who fetches when the line is due once more."""
    behind_ms = 0
    told = asyncio.Event()

    def now_ms() -> int:
        return round(time.monotonic() * 1000) - behind_ms

    nobody = cast(Any, None)
    turning = Turning(nobody, nobody, ["mail"], now_ms, told.set)
    due_ms = now_ms() + 50
    turning.expect(due_ms)
    async with asyncio.timeout(30):
        await told.wait()
        told.clear()
        behind_ms = 200
        turning.begin_wait(["mail"])
        await told.wait()
    assert now_ms() >= due_ms


async def test_a_clock_that_is_set_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told at the next look at the clock, and not when the time has passed that it was to be."""
    monkeypatch.setattr("asyncq.rabbitmq.turning.LOOK", 0.05)
    ahead_ms = 0
    told = asyncio.Event()

    def now_ms() -> int:
        return round(time.monotonic() * 1000) + ahead_ms

    nobody = cast(Any, None)
    turning = Turning(nobody, nobody, ["mail"], now_ms, told.set)
    turning.expect(now_ms() + 600_000)
    ahead_ms = 600_000
    async with asyncio.timeout(10):
        await told.wait()
