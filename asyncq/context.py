"""The context of a running task: its message, its progress, its log."""

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import Context as ContextVariables
from contextvars import ContextVar
from math import isfinite
from typing import Any, Protocol, cast

from asyncq.errors import ConfigurationError
from asyncq.message import Message
from asyncq.result import Progress
from asyncq.serializers.flaws import is_utf8

logger = logging.getLogger("asyncq.task")


class Context:
    """What a running task may ask about its own run: `ctx: Context = Depends()` or `current_context()`.

    Attributes:
        message: the call being run.
        attempt: 1 for the first.
        broker: the broker that it came from.
        has_reported: whether the run has said anything of its progress.
        log: a logger whose records carry task_id, task, queue and attempt.
        is_cancelled: whether the run was given up, because of its time limit, a cancellation or the worker's end, while
            its function goes on in a thread, which nobody can stop from outside. May be asked from any thread.
    """

    __slots__ = ("_report", "broker", "has_reported", "is_cancelled", "message")

    def __init__(self, message: Message, broker: Any, report: Callable[["Context", Progress], None]) -> None:
        self.message = message
        self.broker = broker
        self.has_reported = False
        self.is_cancelled = False
        self._report = report

    @property
    def attempt(self) -> int:
        return self.message.attempt + 1

    @property
    def labels(self) -> Mapping[str, Any]:
        """The user's own facts about the call."""
        return self.message.labels

    @property
    def log(self) -> "TaskLogger":
        return TaskLogger(logger, log_facts(self.message))

    def check_cancelled(self) -> None:
        """End the function if its run was given up: call it in the loops of a task that runs in a thread.

        What the function does and returns after that counts for nothing.

        Raises:
            asyncio.CancelledError: it was. As no `Exception`, it passes through `except Exception`.
        """
        if self.is_cancelled:
            raise asyncio.CancelledError("The run was given up.")

    async def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the task is. Only the latest is kept; at most 10 a second are sent, the last one always.

        Costs nothing to call often: it does not wait for the server.

        Raises:
            TypeError, ValueError: what cannot be sent: no finite numbers, or no text.
            NotSupported: the broker has no memory of calls, and nobody could see it.
        """
        self.progress_sync(done, total, note)

    def progress_sync(self, done: float, total: float | None = None, note: str = "") -> None:
        """Do what `progress` does, from a task that runs in a thread or in a process of its own."""
        if not isinstance(note, str) or not is_utf8(note):  # pyright: ignore[reportUnnecessaryIsInstance] - user's
            raise TypeError("progress(): note= is a text that can be encoded.")
        progress = Progress(_finite("done", done), None if total is None else _finite("total", total), note)
        self.has_reported = True
        self._report(self, progress)


def _finite(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"progress(): {name}= is a number; got {type(value).__name__}: {error}") from error
    if not isfinite(number):
        raise ValueError(f"progress(): {name}= is a finite number; got {number!r}.")
    return number


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry the facts of one run beside those given with the call."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


class Dependency:
    """The mark that `Depends()` leaves as a parameter's default: a worker fills it, no caller gives it."""


_current: ContextVar[Context | None] = ContextVar("asyncq_context", default=None)


def Depends() -> Any:  # noqa: N802 - reads as a type in a signature, as FastAPI's does
    """Mark a parameter annotated `Context` as one that the worker fills."""
    return Dependency()


def current_context() -> Context:
    """Return the context of the task that is running here.

    Raises:
        ConfigurationError: no task is.
    """
    context = _current.get()
    if context is None:
        raise ConfigurationError("current_context() was called outside of a task that a worker runs.")
    return context


def enter_context(context: Context) -> None:
    """Make this the context of the asyncio task that calls it, and of all that it starts."""
    _current.set(context)


def context_of(task: asyncio.Task[Any]) -> Context | None:
    """Return the context in which an asyncio task runs, from any thread; before Python 3.12 nobody can tell: None."""
    variables: Callable[[], ContextVariables] | None = getattr(task, "get_context", None)
    return None if variables is None else variables().get(_current)


def log_facts(message: Message) -> dict[str, Any]:
    """Return what every log record about a run carries."""
    return {
        "task_id": message.id,
        "task": message.task,
        "queue": message.queue,
        "attempt": message.attempt + 1,
    }


def is_dependency(default: object) -> bool:
    """Tell whether a parameter's default is `Depends()`."""
    return isinstance(cast("Any", default), Dependency)


class Loan(Protocol):
    """The slot of a running task, which is lent out while the task waits for another."""

    def lend(self) -> None:
        """Let another task run in the slot."""
        ...

    def give_way(self) -> None:
        """Let a suspect run beside this task, which may be one, too: what it waits for seems to be a suspect."""
        ...

    async def take_back(self) -> None:
        """Wait until there is a slot for this task again."""
        ...

    def take_back_at_once(self) -> None:
        """Do the same without waiting, over the limit if need be: this task is being cancelled."""
        ...


current_loan: ContextVar[Loan | None] = ContextVar("asyncq_loan", default=None)
