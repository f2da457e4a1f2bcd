"""Turns of the event loop."""

import asyncio


async def pass_turns(count: int = 1) -> None:
    """Let everything else that is ready run, so many times.

    For what never waits by itself: without a turn in between, whoever calls it again and again would have the loop for
    himself. No time is waited for; a loop with nothing else to do goes on at once.
    """
    for _ in range(count):
        await asyncio.sleep(0)
