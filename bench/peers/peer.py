"""What a peer's module implements for its client process."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import ClassVar, Literal, Self

Queued = Literal["noop", "nap", "limited", "slotted"]
"""The tasks that take the payload. The last two are asyncq's alone: `noop` under limits."""


class NotOffered(Exception):
    """The library has no such call."""


class Peer(ABC):
    """A library's own calls under one set of names.

    Methods are plain functions that return the library's awaitable where they can, so that no coroutine of ours stands
    between the clock and what is measured.

    Attributes:
        batch_size: how many messages one call of the batch API takes, where the library does best; 0: it has none.
    """

    batch_size: ClassVar[int] = 0

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        """Publish one task with a generated id; await until the server has it."""

    def enqueue_batch(self, task: Queued, payloads: Sequence[str]) -> Awaitable[object]:
        """Publish several tasks in one call."""
        raise NotOffered

    def enqueue_at(self, due: float) -> Awaitable[object]:
        """Publish `late` for a time, in seconds since 1970."""
        raise NotOffered

    def call(self, value: int) -> Awaitable[object]:
        """Publish `echo` and wait for what it returns."""
        raise NotOffered
