"""A job: a piece of work for the thread of the file, and the caller who awaits it."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar, cast

from asyncq.errors import BrokerUnavailable
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.transaction import Transaction

T = TypeVar("T")

Reading: TypeAlias = Callable[[Connection], T]
Writing: TypeAlias = Callable[[Transaction], T]


class Job(Generic[T]):
    """A piece of work, and the future that its caller awaits. Exactly one of `reading` and `writing` is set."""

    __slots__ = ("deadline", "error", "future", "is_durable", "reading", "result", "writing")

    def __init__(
        self, reading: Reading[T] | None, writing: Writing[T] | None, deadline: float, *, is_durable: bool = True
    ) -> None:
        self.reading = reading
        self.writing = writing
        self.deadline = deadline
        self.is_durable = is_durable
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.result: T | None = None
        self.error: Exception | None = None

    def deliver(self) -> None:
        """Give the caller the outcome. On the loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(cast(T, self.result))

    def give_up(self, path: str) -> None:
        """Tell the caller that the thread does not answer. On the loop."""
        if not self.future.done():
            self.future.set_exception(BrokerUnavailable(f"The disk that holds {path!r} does not answer."))
