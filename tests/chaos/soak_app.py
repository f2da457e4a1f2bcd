"""The application of the soak: everything that a worker does all day, and nothing of which it would warn."""

import asyncio
import os
import time

from asyncq import Context, Depends, Snooze, broker_from_url

RESULT_TTL = 5.0
"""Seconds: short, so that the number of results soon stands still."""

broker = broker_from_url(os.environ["SOAK_URL"], namespace="soak")


@broker.task(result_ttl=RESULT_TTL)
async def quick(number: int) -> int:
    return number


@broker.task(result_ttl=RESULT_TTL)
async def slow(number: int) -> int:
    await asyncio.sleep(0.05)  # what the load is made of: tasks that take so long
    return number


@broker.task(result_ttl=RESULT_TTL)
def in_thread(number: int) -> int:
    time.sleep(0.002)  # what the load is made of: tasks that take so long
    return number


@broker.task(result_ttl=RESULT_TTL)
async def reporting(number: int, context: Context = Depends()) -> int:
    await context.progress(1, 2, "half of it")
    await asyncio.sleep(0.01)  # what the load is made of: tasks that take so long
    return number


@broker.task(result_ttl=RESULT_TTL)
async def nested(number: int) -> int:
    return await (await quick.kiq(number))


@broker.task(result_ttl=RESULT_TTL)
async def snoozing(until: float, number: int) -> int:
    if time.time() < until:
        raise Snooze(0.3)
    return number


@broker.task(result_ttl=RESULT_TTL)
async def endless(number: int) -> int:
    await asyncio.Event().wait()
    return number
