"""When lines are asked for."""

import asyncio
import time
from typing import Any, cast

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
