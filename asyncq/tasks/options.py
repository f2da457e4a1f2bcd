"""What may be said about a task, and what one call may say otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from asyncq.errors import ConfigurationError
from asyncq.limits import ConcurrencyLimit, RateLimit
from asyncq.message import Overrides
from asyncq.queues import DEFAULT_QUEUE
from asyncq.retry import RetryPolicy
from asyncq.tasks.checks import (
    check_count,
    check_group,
    check_id,
    check_limits,
    check_names,
    check_on_failure,
    check_priority,
    check_queue,
    check_rate_limit,
    check_retry,
    check_seconds,
    check_store_result,
    checked_labels,
    is_a,
)
from asyncq.tasks.failed import FailureHandler
from asyncq.tasks.unique import Unique, check_unique

RunsIn = Literal["loop", "thread", "process"]


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
        max_crashes: how often the process that runs a call may die until the call goes to the dead letters; from its
            second crash on a call runs beside no other that has two, and after its third it waits longer each time.
            None: it is tried for ever.
        on_failure: a task of the same broker that takes a `FailedCall`. It is called once, when a call has failed for
            good: not after each attempt, nor when it expires or is cancelled. Published in the step that ends the call.
        unique: lets one call of a key be there at a time; None: any number.
        rate_limit: how many calls may start in a time, over all processes: one limit, or several that all hold.
        concurrency: how many calls may run at once, over all processes.
        group: returns whose turn a call uses up: groups take turns within their queue, however much each has there. It
            is called where the call is published, as `RateLimit.key` is. None: the turn of all calls without a group.
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
    max_crashes: int | None = 3
    on_failure: FailureHandler | None = None
    unique: Unique | None = None
    rate_limit: RateLimit | Sequence[RateLimit] | None = None
    concurrency: ConcurrencyLimit | None = None
    group: Callable[..., object] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_queue(self.queue)
        check_priority(self.priority)
        check_seconds(timeout=self.timeout, expires=self.expires, result_ttl=self.result_ttl)
        check_retry(self.retry)
        check_store_result(self.store_result)
        object.__setattr__(self, "labels", checked_labels(self.labels))
        check_count(local_concurrency=self.local_concurrency, max_crashes=self.max_crashes)
        check_on_failure(self.on_failure)
        check_unique(self.unique)
        check_rate_limit(self.rate_limit)
        check_limits(self.rate_limits, self.concurrency, self.local_concurrency)
        check_group(self.group)

    @property
    def rate_limits(self) -> Sequence[RateLimit]:
        """All rate limits, none included."""
        if self.rate_limit is None:
            return ()
        return (self.rate_limit,) if isinstance(self.rate_limit, RateLimit) else tuple(self.rate_limit)

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
        id: the call's id, 1 to 200 characters. NotSupported where calls are not remembered.
        retry: the numbers of a policy replace the task's, its exceptions stay the task's; None: no retries.
        timeout, expires: as in `TaskOptions`, None included.
        queue, priority, result_ttl, store_result: as in `TaskOptions`.
        unique: as in `TaskOptions`, None included.
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
    unique: Unique | None | UnsetType = UNSET
    labels: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue(self.queue)
        if self.priority is not None:
            check_priority(self.priority)
        check_seconds(delay=self.delay, result_ttl=self.result_ttl)
        check_seconds(expires=self.expires or None, timeout=self.timeout or None)
        if self.retry:
            check_retry(self.retry)
        if self.store_result is not None:
            check_store_result(self.store_result)
        if self.unique is not UNSET:
            check_unique(self.unique)
        if self.labels is not None:
            object.__setattr__(self, "labels", checked_labels(self.labels))
        if self.id is not None:
            check_id(self.id)
        self._check_at()

    def _check_at(self) -> None:
        if self.at is not None and (not is_a(datetime, self.at) or self.at.tzinfo is None):
            raise ConfigurationError(
                f"at= takes an aware datetime; {self.at!r} has no time zone. Add tzinfo, e.g. UTC."
            )
        if self.at is not None and self.delay is not None:
            raise ConfigurationError("delay= and at= both say when the call is due; give one of them.")

    def overrides(self) -> Overrides | None:
        """Return what of this travels in the message, None for nothing."""
        overrides = Overrides(
            timeout=None if self.timeout is UNSET else float(self.timeout or 0),
            result_ttl=self.result_ttl,
            store_result=self.store_result,
            retry=None if self.retry is UNSET else self.retry.to_wire() if self.retry else {},
        )
        return None if overrides == Overrides() else overrides
