"""The run: one attempt at a call, as a worker makes it, and what holds for it."""

from typing import Any, NamedTuple

import msgspec

from asyncq.errors import DecodeError, TaskTimeout
from asyncq.message import Message, RetryNumbers
from asyncq.retry import RetryPolicy
from asyncq.tasks import Task
from asyncq.transport import Delivery


class Run(NamedTuple):
    """One attempt: a delivery, and what it turned out to be."""

    delivery: Delivery
    message: Message
    task: Task[..., Any]
    policy: RetryPolicy | None
    started_ms: int

    @property
    def attempts(self) -> int:
        """How many attempts are used once this one is; one that is not made uses none."""
        used = self.message.attempt
        return used if self.delivery.crashes and self.is_poison else used + 1

    @property
    def is_poison(self) -> bool:
        """Whether so many processes have died while they ran the call that no other is to."""
        limit = self.task.declared.max_crashes
        return limit is not None and self.delivery.crashes >= limit

    @property
    def timeout(self) -> float | None:
        """The seconds it may take; None: no limit."""
        overrides = self.message.overrides
        if overrides is not None and overrides.timeout is not None:
            return overrides.timeout or None
        return self.task.declared.timeout

    @property
    def is_expired(self) -> bool:
        """Whether the call may not start any more. One that has started once always may."""
        return self.message.expires_ms > 0 and 0 < self.expires_ms <= self.started_ms

    @property
    def expires_ms(self) -> int:
        """When the call may not start any more; 0: it always may."""
        message = self.message
        return message.expires_ms if message.attempt == 0 and self.delivery.crashes == 0 else 0

    def timed_out(self, seconds: float) -> TaskTimeout:
        """Return the error of an attempt that ran past its limit."""
        return TaskTimeout("TaskTimeout", f"{self.task.name!r} ran longer than {seconds:g} s.")


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


def keeps_result(task: Task[..., Any], message: Message) -> bool:
    """Tell whether the result of a call is kept: as the call says, else as its task does."""
    overrides = message.overrides
    if overrides is not None and overrides.store_result is not None:
        return overrides.store_result
    return task.declared.store_result


def ttl_ms(run: Run) -> int:
    """Return how long the result of a run is kept."""
    overrides = run.message.overrides
    if overrides is not None and overrides.result_ttl is not None:
        return round(overrides.result_ttl * 1000)
    return round(run.task.declared.result_ttl * 1000)


def check_size(task: Task[..., Any], size: int, limit: int) -> None:
    """Raise ValueError for a result that has more bytes than the broker keeps."""
    if size > limit:
        raise ValueError(
            f"The result of {task.name!r} has {size:,} bytes; this broker keeps {limit:,} (max_result_size). "
            "Store it elsewhere and return its address."
        )
