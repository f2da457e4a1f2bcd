"""Batches that come from load, not from waiting: what is asked during one round trip goes together in the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from asyncq.errors import BrokerUnavailable

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome

_Entry = tuple[Sequence[I], asyncio.Future[Sequence[O]]]


class Batcher(Generic[I, O]):
    """Turns many concurrent calls for one item each into few calls for many.

    An idle batcher sends at the next turn of the loop, so that all calls of one turn share one round trip.

    Args:
        send: takes items, returns an outcome for each, in order. Its exception is raised at each caller.
    """

    def __init__(self, send: Callable[[Sequence[I]], Awaitable[Sequence[O]]]) -> None:
        self._send = send
        self._entries: list[_Entry[I, O]] = []
        self._wanted = asyncio.Event()
        self._is_closed = False

    async def put(self, item: I) -> O:
        """Return the outcome of one item."""
        return (await self._submit((item,)))[0]

    def put_all(self, items: Sequence[I]) -> "asyncio.Future[Sequence[O]]":
        """Return a future of the outcomes of several items, sent together."""
        return self._submit(items)

    async def run(self) -> None:
        """Send what is asked for, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._entries:
                    entries, self._entries = self._entries, []
                    await self._send_entries(entries)
        finally:
            self._is_closed = True
            _fail(self._entries, BrokerUnavailable("The broker was closed meanwhile; the outcome is unknown."))

    def _submit(self, items: Sequence[I]) -> "asyncio.Future[Sequence[O]]":
        if self._is_closed:
            raise BrokerUnavailable("The broker is closed.")
        future: asyncio.Future[Sequence[O]] = asyncio.get_running_loop().create_future()
        self._entries.append((items, future))
        self._wanted.set()
        return future

    async def _send_entries(self, entries: list[_Entry[I, O]]) -> None:
        items = [item for several, _ in entries for item in several]
        try:
            outcomes = await self._send(items)
        except asyncio.CancelledError:
            _fail(entries, BrokerUnavailable("The broker was closed meanwhile; the outcome is unknown."))
            raise
        except Exception as error:
            _fail(entries, error)
            return
        start = 0
        for several, future in entries:
            end = start + len(several)
            if not future.done():  # its caller may have been cancelled meanwhile
                future.set_result(outcomes[start:end])
            start = end


def _fail(entries: Sequence[_Entry[I, O]], error: Exception) -> None:
    """Raise the error at each caller: a copy of it where it can be copied, so that tracebacks don't pile up on one."""
    for _, future in entries:
        if not future.done():
            copy = type(error)(*error.args) if isinstance(error, BrokerUnavailable) else error
            copy.__cause__ = error.__cause__
            future.set_exception(copy)
            future.exception()  # seen, even if its caller has been cancelled and nobody waits any more
