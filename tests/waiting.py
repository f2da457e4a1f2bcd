"""Waiting for what a test expects, without sleeping for a guessed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from asyncq import Broker

POLL = 0.005


async def wait_until(condition: Callable[[], bool | Awaitable[bool]], description: str, *, timeout: float = 10) -> None:
    """Return as soon as the condition holds; it is looked at every 5 ms.

    An event or a signal of the code under test is better wherever there is one.

    Args:
        condition: a function or a coroutine function.
        description: what is waited for, for the failure: "the worker has stopped".
        timeout: seconds after which the test fails.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await _holds(condition):
                await asyncio.sleep(POLL)
    except TimeoutError:
        raise AssertionError(f"Not within {timeout} s: {description}.") from None


async def wait_for_waits(broker: Broker, count: int = 1) -> None:
    """Return when so many calls are waited for over this broker."""
    waits = (await broker.open()).waiters._waits
    await wait_until(lambda: len(waits) >= count, f"{count} calls are waited for")


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
