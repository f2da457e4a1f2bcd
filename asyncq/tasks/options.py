"""What may be said about a task, and what one call may say otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from asyncq.errors import ConfigurationError, near_names
from asyncq.limits import ConcurrencyLimit, RateLimit
from asyncq.message import MAX_SECONDS, Overrides, RetryNumbers
from asyncq.queues import DEFAULT_QUEUE, MAX_PRIORITY, check_queue_name
from asyncq.retry import RetryPolicy
from asyncq.serializers.flaws import is_utf8
from asyncq.serializers.plain import Plain
from asyncq.tasks.failed import FailureHandler
from asyncq.tasks.unique import Unique, check_unique

RunsIn = Literal["loop", "thread", "process"]

_LABELS = Plain("labels have no annotation", "leave it out", "pass")


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


def check_names(given: Mapping[str, Any], known: list[str]) -> None:
    """Raise ConfigurationError for an option that does not exist, naming near ones."""
    for name in given:
        if name not in known:
            raise ConfigurationError(f"There is no option {name!r}.{near_names(name, known)}")


def check_queue(name: str) -> None:
    """Raise ConfigurationError for what cannot name a queue."""
    if not is_a(str, name):
        raise ConfigurationError(f"queue= is a name; got {name!r}.")
    check_queue_name(name)


def check_priority(priority: int) -> None:
    """Raise ConfigurationError for a priority outside 0-9."""
    if not is_whole(priority) or not 0 <= priority <= MAX_PRIORITY:
        raise ConfigurationError(f"A priority is a whole number from 0 to {MAX_PRIORITY}; got {priority!r}.")


def check_seconds(**options: float | None) -> None:
    """Raise ConfigurationError for an option that is no number of seconds from 0 to a hundred years."""
    for name, value in options.items():
        if value is None:
            continue
        if not is_a((int, float), value) or is_a(bool, value) or not 0 <= value <= MAX_SECONDS:
            raise ConfigurationError(
                f"{name}= is a number of seconds, 0 or more, a hundred years at most; got {value!r}."
            )


def check_count(**options: int | None) -> None:
    """Raise ConfigurationError for an option that is no whole number from 1."""
    for name, value in options.items():
        if value is not None and not (is_whole(value) and value >= 1):
            raise ConfigurationError(f"{name} is 1 or more, or None; got {value!r}.")


def check_on_failure(handler: FailureHandler | None) -> None:
    """Raise ConfigurationError for what is no task."""
    if handler is not None and not callable(getattr(handler, "message", None)):
        raise ConfigurationError(f"on_failure= is a task, as @broker.task makes them; got {handler!r}.")


def check_rate_limit(given: object) -> None:
    """Raise ConfigurationError for what is no rate limit, no list of them, and not None."""
    for each in cast("Sequence[object]", given) if is_a((list, tuple), given) else (given,):
        if given is not None and not is_a(RateLimit, each):
            raise ConfigurationError(
                f"rate_limit= is a RateLimit, or a list of them; got {each!r}. 100 a minute is RateLimit(100, per=60)."
            )


def check_limits(
    rates: Sequence[RateLimit], concurrency: ConcurrencyLimit | None, local_concurrency: int | None
) -> None:
    """Raise ConfigurationError for what is no limit, or for limits that do not go together."""
    if concurrency is not None and not is_a(ConcurrencyLimit, concurrency):
        raise ConfigurationError(f"concurrency= is a ConcurrencyLimit; got {concurrency!r}.")
    if rates and local_concurrency is not None:
        raise ConfigurationError(
            "local_concurrency= lets a call wait in its worker after its turn was granted, so that more than the "
            "rate limit could start at once. Use concurrency=ConcurrencyLimit(n), which counts over all processes."
        )
    names = [rate.name for rate in rates if rate.name is not None]
    if len(names) != len(set(names)):
        raise ConfigurationError(f"Two rate limits of one task have one name={names[0]!r}: they would be one limit.")


def check_group(group: object) -> None:
    """Raise ConfigurationError for what cannot be called."""
    if group is not None and not callable(group):
        raise ConfigurationError(
            f"group= is a function of the task's arguments, e.g. group=lambda user_id, **_: user_id; got {group!r}."
        )


def check_retry(retry: RetryPolicy | None) -> None:
    """Raise ConfigurationError for what is no policy, or for a policy that no message could carry."""
    if retry is None:
        return
    if not is_a(RetryPolicy, retry):
        raise ConfigurationError(f"retry= is a RetryPolicy, or None for no retries; got {retry!r}.")
    try:
        msgspec.convert(retry.to_wire(), RetryNumbers)
        for kinds in (retry.on, retry.never):
            is_a(kinds, None)  # raises where it would raise for what a task has raised
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigurationError(f"retry={retry!r} makes no sense: {error}") from error


def check_store_result(store_result: bool) -> None:
    """Raise ConfigurationError for what is neither true nor false."""
    if not is_a(bool, store_result):
        raise ConfigurationError(f"store_result= is True or False; got {store_result!r}.")


def check_id(id: str) -> None:
    """Raise ConfigurationError for what cannot be an id."""
    if not is_a(str, id) or not is_utf8(id):
        raise ConfigurationError(f"id= is a text that can be encoded; got {id!r}.")
    if not 1 <= len(id) <= 200:
        raise ConfigurationError(f"id= takes 1 to 200 characters; got {len(id)}.")


def checked_labels(labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy of the labels. Raises ConfigurationError where JSON would not give them back equal."""
    if not labels and is_a(dict, labels):
        return {}
    if not is_a(Mapping, labels):
        raise ConfigurationError(f"labels= is a mapping; got {labels!r}.")
    try:
        return cast("Mapping[str, Any]", _LABELS.encode(dict(labels)))
    except TypeError as error:
        raise ConfigurationError(f"labels= {error}.") from error


def is_whole(value: object) -> bool:
    """Tell whether a value is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_a(kind: type | tuple[type, ...], value: object) -> bool:
    """Tell whether a value is what its annotation says: callers need not use a type checker."""
    return isinstance(value, kind)
