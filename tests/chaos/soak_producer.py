"""The producer of the soak: publishes a mix of calls and waits for each, first as many as it can, then half of that.

It prints both rates. What memory a burst takes it has taken by then, and no later burst is larger: a producer that has
ever more calls going has to grow, and of that the soak would know nothing.

Usage: python -m tests.chaos.soak_producer PEAK_SECONDS SECONDS
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

from asyncq import TaskCancelled
from tests.chaos import soak_app as app

AT_ONCE = 2_000
"""Calls that are waited for at a time: at full speed always, and later at most."""

TICK = 0.02
WARM_UP = 0.3
"""Part of the time that does not count, at full speed."""


async def cancelled(number: int) -> int:
    """Publish a call that never ends, and cancel it."""
    handle = await app.endless.kiq(number)
    assert await handle.cancel()
    try:
        return await handle
    except TaskCancelled:
        return number


def mix() -> Iterator[Callable[[int], Awaitable[int]]]:
    """Yield what to do next, for ever: of a hundred calls, so many of each kind."""

    async def quick(number: int) -> int:
        return await (await app.quick.kiq(number))

    async def urgent(number: int) -> int:
        return await (await app.quick.options(priority=9).kiq(number))

    async def delayed(number: int) -> int:
        return await (await app.quick.options(delay=0.5).kiq(number))

    async def slow(number: int) -> int:
        return await (await app.slow.kiq(number))

    async def in_thread(number: int) -> int:
        return await (await app.in_thread.kiq(number))

    async def reporting(number: int) -> int:
        return await (await app.reporting.kiq(number))

    async def nested(number: int) -> int:
        return await (await app.nested.kiq(number))

    async def snoozing(number: int) -> int:
        return await (await app.snoozing.kiq(time.time() + 0.2, number))

    shares = {quick: 60, urgent: 10, delayed: 5, slow: 10, in_thread: 5, reporting: 4, nested: 3, snoozing: 2}
    every = [call for call, share in {**shares, cancelled: 1}.items() for _ in range(share)]
    return (every[number * 37 % len(every)] for number in itertools.count())  # 37: so that kinds alternate


async def at_full_speed(seconds: float) -> float:
    """Keep as many calls going as it can; return how many ended in a second, once it was warm.

    Each is an asyncio task of its own, as it is later: so many need the same memory then.
    """
    calls, end, ended = mix(), time.monotonic() + seconds, 0
    count_from = time.monotonic() + WARM_UP * seconds

    def end_and_begin(_: object) -> None:
        nonlocal ended
        ended += time.monotonic() > count_from
        begin()

    def begin() -> None:
        if time.monotonic() < end:
            group.create_task(one(next(calls), ended)).add_done_callback(end_and_begin)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            begin()
    return ended / (seconds - WARM_UP * seconds)


async def steadily(rate: float, seconds: float) -> float:
    """Publish at this rate, but have no more calls going than at full speed; return how many began in a second.

    What there is no room for is left out, not made up for: if the machine does something else for a while, calls would
    otherwise pile up here, and then come faster than half of the peak.
    """
    calls, begin, published, due = mix(), time.monotonic(), 0, 0.0
    going: set[asyncio.Task[None]] = set()
    last = begin
    async with asyncio.TaskGroup() as group:
        while (now := time.monotonic()) - begin < seconds:
            due = min(due + rate * (now - last), AT_ONCE - len(going))
            last = now
            while due >= 1:
                task = group.create_task(one(next(calls), published))
                going.add(task)
                task.add_done_callback(going.discard)
                published, due = published + 1, due - 1
            await asyncio.sleep(TICK)  # the pace itself
    return published / (time.monotonic() - begin)


async def one(call: Callable[[int], Awaitable[int]], number: int) -> None:
    """Make a call, and check what comes back."""
    assert await call(number) == number


async def main() -> None:
    """Do what the command line says."""
    peak_seconds, seconds = map(float, sys.argv[1:])
    async with app.broker:
        peak = await at_full_speed(peak_seconds)
        print(peak, flush=True)
        print(await steadily(peak / 2, seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
