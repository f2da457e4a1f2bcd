"""A dead letter, as users see it, and which of them are meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asyncq.errors import DecodeError
from asyncq.failure import Failure
from asyncq.message import Message, decode_message
from asyncq.result import Attempt, Record, Status, decode_record, instant
from asyncq.transport import DeadLetter as Letter


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A call that failed for good, with all that is known of its end.

    Attributes:
        id, task, queue: the call's; `task` is empty where its message cannot be read.
        args, kwargs: as they were sent: what JSON makes of the arguments.
        labels: the user's own facts about the call.
        reason: why it does not run again, in one sentence.
        error_type: class of the last error, `module:QualifiedName`; empty where nothing was raised.
        error_message: its text.
        traceback: as the worker saw it.
        attempts: how many were used.
        history: those before the last, oldest first; of very many the latest.
        worker: the process that ran the last one.
        enqueued_at: when it was first published; None: its message does not say.
        died_at: when it failed for good.
        body: the message as it was sent.
    """

    id: str
    task: str
    queue: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    labels: Mapping[str, Any]
    reason: str
    error_type: str
    error_message: str
    traceback: str = field(repr=False)
    attempts: int
    history: Sequence[Attempt]
    worker: str
    enqueued_at: datetime | None
    died_at: datetime
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is None is not asked for.

    Attributes:
        task: name of the task.
        error: a part of the error's class or text, or of the reason, in whatever case.
        queue: name of the queue.
        older_than: they died longer than so many seconds ago.
        newer_than: they died within the last so many seconds.
    """

    task: str | None = None
    error: str | None = None
    queue: str | None = None
    older_than: float | None = None
    newer_than: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Selection()

    def is_too_old(self, died_ms: int, now_ms: int) -> bool:
        """Tell whether a letter, and thus all that died before it, is older than what is meant."""
        return self.newer_than is not None and died_ms < now_ms - self.newer_than * 1000

    def has(self, letter: DeadLetter, died_ms: int, now_ms: int) -> bool:
        """Tell whether a letter is meant."""
        if self.older_than is not None and died_ms > now_ms - self.older_than * 1000:
            return False
        if self.task is not None and letter.task != self.task:
            return False
        texts = (letter.error_type, spoken_type(letter.error_type), letter.error_message, letter.reason)
        return self.error is None or any(self.error.casefold() in text.casefold() for text in texts)


def shown(letter: Letter) -> DeadLetter:
    """Return a letter as users see it."""
    record = _record_in(letter)
    message = message_in(letter) or Message(v=1, id=letter.id, task=record.task, queue=letter.queue)
    failure = record.error or Failure("")
    died_at = instant(letter.died_ms)
    assert died_at is not None
    return DeadLetter(
        id=letter.id,
        task=message.task,
        queue=letter.queue,
        args=message.args,
        kwargs=message.kwargs,
        labels=message.labels,
        reason=letter.reason,
        error_type=failure.type,
        error_message=failure.message,
        traceback=failure.traceback,
        attempts=record.attempts,
        history=[Attempt.of(past) for past in message.history],
        worker=record.worker,
        enqueued_at=instant(message.enqueued_ms),
        died_at=died_at,
        body=letter.body,
    )


def spoken_type(error_type: str) -> str:
    """Return the class of an error as a traceback names it: `ValueError`, `shop.errors.OutOfStock`."""
    return error_type.replace(":", ".").removeprefix("builtins.")


def message_in(letter: Letter) -> Message | None:
    """Return the message; None where it cannot be read, which may be what it died of."""
    try:
        return decode_message(letter.body)
    except DecodeError:
        return None


def _record_in(letter: Letter) -> Record:
    try:
        return decode_record(letter.record or b"")
    except DecodeError:
        return Record(id=letter.id, task="", status=Status.FAILED)
