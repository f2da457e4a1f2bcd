"""Waiting for calls, over any number of outages, and writing down what was seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncq import Broker, BrokerUnavailable, Handle, PublishError, Result, ResultMissing
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

    async def see(self, id: str, *, wait_for_publish: float = 0) -> None:
        """Wait until a call has ended, and write down how."""
        handle = self._broker.handle(id)
        result = await self.ask(id, lambda: handle.result(wait_for_publish=wait_for_publish))
        if result is not None:
            self._journal.write("seen", id=id, status=result.status, value=value_of(result))

    async def ask(self, id: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """Ask about a call until there is an answer; None: it is told, and written down, that nobody knows the call."""
        while True:
            try:
                return await patiently(question)
            except ResultMissing as error:
                self._journal.write("missing", id=id, error=str(error))
                if not self._is_late:
                    return None
                await asyncio.sleep(PAUSE)  # before the next try


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


async def publish_patiently(broker: Broker, messages: Sequence[Message]) -> tuple[Sequence[Handle[Any]], float]:
    """Publish, again and again until all are confirmed; return the handles, and when the last try began.

    Raises PublishError for what no other try would mend.
    """

    async def publish() -> tuple[Sequence[Handle[Any]], float]:
        since = time.monotonic()
        try:
            return await broker.kiq_many(messages), since
        except PublishError as error:
            for each in error.errors.values():
                if not isinstance(each, BrokerUnavailable):
                    raise
            raise BrokerUnavailable(str(error)) from error

    return await patiently(publish)
