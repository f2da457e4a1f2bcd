"""The answer timeout: how long a server is waited for, by a loop that may have been blocked meanwhile."""

import asyncio
from types import TracebackType
from typing import Self

LATE = 0.1
"""Seconds by which the loop comes too late to a timeout if something has blocked it."""

READING = 1.0
"""Seconds in which it then reads what has arrived."""


class AnswerTimeout:
    """`asyncio.timeout`, but not over before a loop that was blocked has read what has arrived.

    A loop runs what is due in the same turn in which it hears that there is something to read, so `asyncio.timeout`
    would end the wait for an answer that is there. A class, for there is one for each command.
    """

    __slots__ = ("_due", "_loop", "_scope", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._reached)
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._timer.cancel()
        return await self._scope.__aexit__(kind, error, traceback)

    def expired(self) -> bool:
        """Say whether time is up."""
        return self._scope.expired()

    def expire(self) -> None:
        """Let time be up now."""
        self._scope.reschedule(self._loop.time())

    def _reached(self) -> None:
        if self._loop.time() - self._due > LATE:
            self._timer = self._loop.call_later(READING, self.expire)
        else:
            self.expire()
