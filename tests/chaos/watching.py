"""Waiting for calls, over any number of outages, and writing down what was seen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncq import Broker, BrokerUnavailable, Result, ResultMissing
from tests.chaos.journal import Journal

T = TypeVar("T")

PAUSE = 0.1


class Watching:
    """Waits for calls by their ids."""

    def __init__(self, broker: Broker, journal: Journal) -> None:
        self._broker = broker
        self._journal = journal

    async def see(self, id: str) -> None:
        """Wait until a call has ended, and write down how."""
        handle = self._broker.handle(id)
        try:
            result = await patiently(handle.result)
        except ResultMissing as error:
            self._journal.write("missing", id=id, error=str(error))
        else:
            self._journal.write("seen", id=id, status=result.status, value=value_of(result))


def value_of(result: Result[Any]) -> str:
    """Return the run whose result it is, or the error as text: what two looks at one call have to agree in."""
    if result.error is not None:
        return f"{type(result.error).__name__} {result.error} by {result.worker} at {result.finished_at}"
    assert isinstance(result.value, list)
    return str(result.value[1])


@asynccontextmanager
async def opened(broker: Broker) -> AsyncIterator[None]:
    """Open a broker, when the server is there, and close it with the block."""
    await patiently(broker.open)
    try:
        yield
    finally:
        await broker.close()


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until the server answers."""
    while True:
        try:
            return await call()
        except BrokerUnavailable:
            await asyncio.sleep(PAUSE)  # before the next try
