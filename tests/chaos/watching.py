"""Waiting for calls, over any number of outages, and writing down what was seen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncq import Broker, BrokerUnavailable, PublishError, Result, ResultMissing
from asyncq.message import Message
from tests.chaos.journal import Journal

T = TypeVar("T")

PAUSE = 0.1


class Watching:
    """Waits for calls by their ids.

    Args:
        broker: where.
        journal: what is seen.
        is_late: a call that was confirmed may be unknown for a while; it is asked for again then.
    """

    def __init__(self, broker: Broker, journal: Journal, *, is_late: bool) -> None:
        self._broker = broker
        self._journal = journal
        self._is_late = is_late

    async def see(self, id: str) -> None:
        """Wait until a call has ended, and write down how."""
        while True:
            try:
                result = await patiently(self._broker.handle(id).result)
            except ResultMissing as error:
                self._journal.write("missing", id=id, error=str(error))
                if not self._is_late:
                    return
                await asyncio.sleep(PAUSE)  # before the next try
            else:
                self._journal.write("seen", id=id, status=result.status, value=value_of(result))
                return


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


async def publish_patiently(broker: Broker, messages: Sequence[Message]) -> None:
    """Publish, again and again until all are confirmed. Raises PublishError for what no other try would mend."""

    async def publish() -> None:
        try:
            await broker.kiq_many(messages)
        except PublishError as error:
            for each in error.errors.values():
                if not isinstance(each, BrokerUnavailable):
                    raise
            raise BrokerUnavailable(str(error)) from error

    await patiently(publish)
