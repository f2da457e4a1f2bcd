"""How a call ends that no worker ends: because it came too late, or because somebody says so."""

from typing import Protocol

from asyncq.errors import TaskCancelled, TaskExpired, TaskFailed
from asyncq.failure import Failure
from asyncq.message import Message
from asyncq.result import Status, encode_record, record_of
from asyncq.transport import Outcome


class Keeping(Protocol):
    """Who knows which results are kept, and for how long: a broker."""

    def keeps_result(self, message: Message) -> bool:
        """Tell whether the result of this call is kept."""
        ...

    def result_ttl_ms(self, message: Message) -> int:
        """Return how long."""
        ...


def expiry_of(message: Message, keeping: Keeping, now_ms: int) -> Outcome:
    """Return the outcome of a call that was not started in time."""
    return _outcome(message, Status.EXPIRED, TaskExpired, "was not started before it expired", keeping, now_ms)


def cancellation_of(message: Message, keeping: Keeping, now_ms: int) -> Outcome:
    """Return the outcome of a call that somebody has cancelled."""
    return _outcome(message, Status.CANCELLED, TaskCancelled, "was cancelled", keeping, now_ms)


def _outcome(
    message: Message, status: Status, kind: type[TaskFailed], what: str, keeping: Keeping, now_ms: int
) -> Outcome:
    if not keeping.keeps_result(message):
        return Outcome(None, reply=message.reply)
    text = f"{message.task!r} {what}."
    error = Failure(f"{kind.__module__}:{kind.__name__}", text, [kind.__name__, text])
    record = record_of(message, status, error=error, attempts=message.attempt, finished_ms=now_ms)
    return Outcome(encode_record(record), keeping.result_ttl_ms(message), message.reply)
