"""What may be said about a task, and what one call may say otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from asyncq.errors import ConfigurationError, near_names
from asyncq.message import Overrides
from asyncq.queues import DEFAULT_QUEUE, MAX_PRIORITY, check_queue_name
from asyncq.retry import RetryPolicy

RunsIn = Literal["loop", "thread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How the calls of a task are published, run and remembered. All times in seconds.

    Attributes:
        queue: where calls go.
        priority: 0-9, larger runs first.
        retry: when a failed attempt is followed by another; None: never.
        timeout: how long one attempt may run; None: no limit.
        expires: how long after its due time a call may start for the first time; None: for ever.
        result_ttl: how long a result is kept.
        store_result: whether results are kept at all, and told to who waits.
        local_concurrency: how many runs of the task one worker process has at once; a run over that waits and holds a
            slot of the worker. None: as many as there are slots.
        labels: facts about the call that travel with it.
    """

    queue: str = DEFAULT_QUEUE
    priority: int = 0
    retry: RetryPolicy | None = field(default_factory=RetryPolicy)
    timeout: float | None = None
    expires: float | None = None
    result_ttl: float = 3600.0
    store_result: bool = True
    local_concurrency: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_queue_name(self.queue)
        check_priority(self.priority)
        check_seconds(timeout=self.timeout, expires=self.expires, result_ttl=self.result_ttl)
        if self.local_concurrency is not None and self.local_concurrency < 1:
            raise ConfigurationError(f"local_concurrency is 1 or more, or None; got {self.local_concurrency!r}.")

    def changed(self, options: Mapping[str, Any]) -> "TaskOptions":
        """Return these options with some of them changed."""
        check_names(options, [each.name for each in fields(self)])
        return replace(self, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What one call does otherwise than its task. None, or UNSET where None means something: nothing.

    Attributes:
        delay: seconds from now until it is due.
        at: when it is due; an aware datetime. Not together with `delay`.
        id: the call's id, 1 to 200 characters.
        retry: the numbers of a policy replace the task's, its exceptions stay the task's; None: no retries.
        timeout, expires: as in `TaskOptions`, None included.
        queue, priority, result_ttl, store_result: as in `TaskOptions`.
        labels: added to the task's.
    """

    delay: float | None = None
    at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    expires: float | None | UnsetType = UNSET
    id: str | None = None
    retry: RetryPolicy | None | UnsetType = UNSET
    timeout: float | None | UnsetType = UNSET
    result_ttl: float | None = None
    store_result: bool | None = None
    labels: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue_name(self.queue)
        if self.priority is not None:
            check_priority(self.priority)
        check_seconds(delay=self.delay, result_ttl=self.result_ttl)
        check_seconds(expires=self.expires or None, timeout=self.timeout or None)
        if self.at is not None and self.at.tzinfo is None:
            raise ConfigurationError(
                f"at= takes an aware datetime; {self.at!r} has no time zone. Add tzinfo, e.g. UTC."
            )
        if self.at is not None and self.delay is not None:
            raise ConfigurationError("delay= and at= both say when the call is due; give one of them.")
        if self.id is not None and not 1 <= len(self.id) <= 200:
            raise ConfigurationError(f"id= takes 1 to 200 characters; got {len(self.id)}.")

    def overrides(self) -> Overrides | None:
        """Return what of this travels in the message, None for nothing."""
        overrides = Overrides(
            timeout=None if self.timeout is UNSET else self.timeout or 0.0,
            result_ttl=self.result_ttl,
            store_result=self.store_result,
            retry=None if self.retry is UNSET else self.retry.to_wire() if self.retry else {},
        )
        return None if overrides == Overrides() else overrides


def check_names(given: Mapping[str, Any], known: list[str]) -> None:
    """Raise ConfigurationError for an option that does not exist, naming near ones."""
    for name in given:
        if name not in known:
            raise ConfigurationError(f"There is no option {name!r}.{near_names(name, known)}")


def check_priority(priority: int) -> None:
    """Raise ConfigurationError for a priority outside 0-9."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise ConfigurationError(f"A priority is a whole number from 0 to {MAX_PRIORITY}; got {priority!r}.")


def check_seconds(**options: float | None) -> None:
    """Raise ConfigurationError for an option that is no finite number of seconds, 0 or more."""
    for name, value in options.items():
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigurationError(f"{name}= is a number of seconds, 0 or more; got {value!r}.")
