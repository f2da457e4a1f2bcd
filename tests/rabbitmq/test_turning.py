"""When lines are asked for."""

import asyncio
import time
from typing import Any, cast

import pytest

from asyncq.rabbitmq.turning import Turning

NOBODY = cast(Any, None)
QUEUES = ["mail"]


class Setting:
    """A turning with a clock that can be set.

    Attributes:
        told: set when it is worth fetching.
    """

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.turning = Turning(NOBODY, NOBODY, QUEUES, self.now_ms, self.told.set)
        self._ahead_ms = 0

    def now_ms(self) -> int:
        """Return the time."""
        return round(time.monotonic() * 1000) + self._ahead_ms

    def set_clock(self, ahead_ms: int) -> None:
        """Set the clock ahead, or back."""
        self._ahead_ms += ahead_ms

    async def expect(self, in_ms: int, *, then_ahead_ms: int = 0) -> int:
        """Let a line be due in so many ms, set the clock, and wait to be told; return when the line was due."""
        due_ms = self.now_ms() + in_ms
        self.turning.expect(due_ms)
        self.set_clock(then_ahead_ms)
        async with asyncio.timeout(30):
            await self.told.wait()
        return due_ms


async def test_a_clock_that_is_set_back_puts_off_the_question() -> None:
    """It is told when the line is due by the clock as it is then, and not before, when nobody would ask."""
    setting = Setting()
    due_ms = await setting.expect(50, then_ahead_ms=-200)
    assert setting.now_ms() >= due_ms


async def test_a_clock_that_is_set_back_while_nobody_fetches() -> None:
    """What was told then is told again, to who fetches when the line is due once more."""
    setting = Setting()
    due_ms = await setting.expect(50)
    setting.told.clear()
    setting.set_clock(-200)
    setting.turning.begin_wait(QUEUES)
    async with asyncio.timeout(30):
        await setting.told.wait()
    assert setting.now_ms() >= due_ms


async def test_a_clock_that_is_set_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told at the next look at the clock, and not when the time has passed that it was to be."""
    monkeypatch.setattr("asyncq.rabbitmq.turning.LOOK", 0.05)
    setting = Setting()
    due_ms = await setting.expect(600_000, then_ahead_ms=600_000)
    assert setting.now_ms() >= due_ms
