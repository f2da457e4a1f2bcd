"""The failed call: what a task that is named as `on_failure` is told."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from asyncq.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call that has failed for good: its attempts ran out, or it was not to be tried again, or could not begin.

    Attributes:
        id: the call's, by which its result and its dead letter are found.
        task, queue: what was called, and where.
        args, kwargs: its arguments as JSON has them.
        labels: the user's own facts about it. These three are empty where asyncq would not have sent them: integers
            beyond 64 bits, say, from another producer. Its dead letter has them.
        reason: why there is no further attempt, in one sentence.
        error_type: `module:QualifiedName` of the last exception.
        error_message, traceback: its text, and where it came from.
        attempts: how many were used.
        enqueued_at, failed_at: aware datetimes (UTC).
        worker: name of the process that ran it last.
    """

    id: str
    task: str
    queue: str
    args: list[Any]
    kwargs: dict[str, Any]
    labels: dict[str, Any]
    reason: str
    error_type: str
    error_message: str
    traceback: str
    attempts: int
    enqueued_at: datetime | None
    failed_at: datetime | None
    worker: str


class FailureHandler(Protocol):
    """A task that takes a failed call."""

    name: str

    def message(self, call: FailedCall, /) -> Message:
        """Return the message that calls it."""
        ...
