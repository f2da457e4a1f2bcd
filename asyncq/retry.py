"""When a failed task runs again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, cast

from asyncq.backoff import Backoff
from asyncq.errors import ConfigurationError

ExceptionTypes = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, when and for which exceptions a task is tried again.

    Attributes:
        max_attempts: attempts in all, the first one included; 1: no retry.
        delay: seconds before the second attempt.
        factor: each further delay is this many times the one before.
        max_delay: seconds no delay exceeds.
        jitter: draw each delay from its upper half.
        on: only these exceptions are tried again.
        never: these are not, even where `on` names them.
    """

    max_attempts: int = 5
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 600.0
    jitter: bool = True
    on: ExceptionTypes = (Exception,)
    never: ExceptionTypes = ()

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigurationError(
                f"RetryPolicy: max_attempts counts all attempts, 1 or more; got {self.max_attempts!r}."
            )
        if not 0 <= self.delay < float("inf") or not 0 <= self.max_delay < float("inf"):
            raise ConfigurationError("RetryPolicy: delay and max_delay are seconds, 0 or more.")
        if self.factor < 1:
            raise ConfigurationError(f"RetryPolicy: factor is 1 or more; got {self.factor!r}.")

    def allows(self, error: BaseException) -> bool:
        """Tell whether this exception is one to try again after. Leaves of a group count; `never` wins."""
        leaves = list(leaves_of(error))
        if any(isinstance(leaf, self.never) for leaf in leaves):
            return False
        return any(isinstance(leaf, self.on) for leaf in leaves)

    def seconds_after(self, attempts: int, random: Random) -> float:
        """Return the delay in seconds after this many attempts."""
        return Backoff(self.delay, self.factor, self.max_delay, self.jitter).seconds(attempts, random)

    def to_wire(self) -> dict[str, Any]:
        """Return what of the policy travels in a message: its numbers. Exceptions stay those of the task."""
        fields = asdict(self)
        del fields["on"], fields["never"]
        return fields


def leaves_of(error: BaseException) -> list[BaseException]:
    """Return the exceptions inside nested exception groups, or the exception itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    inside: Sequence[BaseException] = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return [leaf for inner in inside for leaf in leaves_of(inner)]
