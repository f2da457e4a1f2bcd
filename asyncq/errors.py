"""Every error that asyncq raises, and the three signals a task may raise.

    AsyncqError
    ├ ConfigurationError ─ DuplicateTask, MissingExtra(+ImportError), NotSupported
    ├ BrokerError ─ BrokerUnavailable(+ConnectionError), PublishRefused, PublishError, DuplicateId, LeaseLost
    ├ MessageError ─ DecodeError, UnknownTask(+LookupError)
    ├ ResultError ─ ResultTimeout(+TimeoutError), ResultMissing, TaskFailed ─ TaskTimeout, TaskCancelled, TaskExpired
    ├ LimitExceeded (retry_after, seconds)
    └ ScheduleError(+ValueError)
    signals, not errors ─ Retry, Reject, Snooze

The branches follow who can react: the programmer, the operator of the server, the other side of the wire, and the
caller who waits. A signal is no `AsyncqError`, so that `except AsyncqError` in a task cannot swallow its own retry.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class AsyncqError(Exception):
    """The root of all errors of asyncq."""


class ConfigurationError(AsyncqError):
    """The program is put together wrongly; no retry will help."""


class DuplicateTask(ConfigurationError):
    """Two functions claim the same task name."""


class MissingExtra(ConfigurationError, ImportError):
    """A client library is not installed; the message holds the line to type."""


class NotSupported(ConfigurationError):
    """This broker cannot do what was asked; the message names what to add."""


class BrokerError(AsyncqError):
    """The server, or the way to it, stood in the way."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """The server did not answer in time. The outcome may be unknown: publishing the same id again is safe.

    A broker without a memory of calls does not know the id again: then the call may run twice.
    """


class PublishRefused(BrokerError):
    """The server answered no: the message is too large, its queue is full, or the server is out of memory."""


class DuplicateId(BrokerError):
    """The id is taken by a call of another task or with other arguments."""


class LeaseLost(BrokerError):
    """The lease ran out and somebody else may hold what it guarded."""


class PublishError(BrokerError):
    """Some messages of a batch were not published; publishing the same messages again is safe.

    Attributes:
        handles: what was published, by index into the batch.
        errors: why the rest was not, by index into the batch.
    """

    def __init__(self, handles: Mapping[int, Any], errors: Mapping[int, Exception]) -> None:
        first = next(iter(errors.values()))
        super().__init__(f"{len(errors)} of {len(handles) + len(errors)} messages were not published. First: {first}")
        self.handles = handles
        self.errors = errors


class MessageError(AsyncqError):
    """A message that came from the server cannot be used."""


class DecodeError(MessageError):
    """The bytes, or the arguments in them, are not what the protocol or the task says."""


class UnknownTask(MessageError, LookupError):
    """No task of this name is registered here."""


class ResultError(AsyncqError):
    """There is no value to return to the caller who waits."""


class ResultTimeout(ResultError, TimeoutError):
    """The caller's time was up. The task goes on."""


class ResultMissing(ResultError):
    """Nobody knows the id, or its result was not kept, or is no longer kept."""


class TaskFailed(ResultError):
    """The task raised, and its own exception cannot be raised here.

    Attributes:
        type_name: qualified name of the exception's class, as the worker recorded it.
        message: its text.
    """

    def __init__(self, type_name: str, message: str = "") -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


class TaskTimeout(TaskFailed):
    """The task ran past its time limit."""


class TaskCancelled(TaskFailed):
    """The task was cancelled."""


class TaskExpired(TaskFailed):
    """The task was not started before it expired."""


class LimitExceeded(AsyncqError):
    """A turn of a limit did not come in time.

    Attributes:
        retry_after: seconds after which there may be one; 0: nobody can tell.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ScheduleError(AsyncqError, ValueError):
    """A schedule says nothing that a clock could go by; the message names the field and what was wanted."""


class Signal(Exception):
    """What a task raises to say how its attempt ends. Not an `AsyncqError`."""


class Retry(Signal):
    """Run this task again: a failed attempt, whatever the policy's exceptions say.

    Args:
        delay: seconds until the next attempt; None takes the delay of the task's retry policy.
        reason: kept with the attempt and logged.
    """

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = check_delay(delay)
        self.reason = reason


class Reject(Signal):
    """Give up on this task: to the dead letters, with no further attempt."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Snooze(Signal):
    """Run this task again in `delay` seconds, with no attempt used."""

    def __init__(self, delay: float, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = check_delay(delay) or 0.0
        self.reason = reason


def check_delay(delay: float | None) -> float | None:
    """Return the delay, or raise ValueError when it is no number of seconds >= 0."""
    if delay is not None and not 0 <= delay < float("inf"):
        raise ValueError(f"A delay is a number of seconds, 0 or more; got {delay!r}.")
    return delay


def near_names(name: str, known: Iterable[str]) -> str:
    """Return a sentence that lists known names near to this one, or an empty string."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Near it: {', '.join(map(repr, near))}." if near else ""
