"""The run: one attempt at a call, as a worker makes it."""

from dataclasses import dataclass
from typing import Any

import msgspec

from asyncq.errors import DecodeError
from asyncq.message import Message, RetryNumbers
from asyncq.retry import RetryPolicy
from asyncq.tasks import Task
from asyncq.transport import Delivery


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt: a delivery, and what it turned out to be."""

    delivery: Delivery
    message: Message
    task: Task[..., Any]
    policy: RetryPolicy | None
    started_ms: int


def policy_of(task: Task[..., Any], message: Message) -> RetryPolicy | None:
    """Return the retry policy of a call: the task's, with the numbers that the call gives. Raises DecodeError."""
    declared = task.declared.retry
    overrides = message.overrides
    if overrides is None or overrides.retry is None:
        return declared
    if not overrides.retry:
        return None
    base = declared or RetryPolicy()
    try:
        numbers = msgspec.convert(overrides.retry, RetryNumbers)
    except msgspec.ValidationError as error:
        raise DecodeError(f"The retry policy in the message makes no sense: {error}") from error
    return RetryPolicy(**msgspec.structs.asdict(numbers), on=base.on, never=base.never)
