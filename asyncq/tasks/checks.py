"""The checks of options: each raises ConfigurationError for a value that makes no sense, and says what to write."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from asyncq.errors import ConfigurationError, near_names
from asyncq.limits import ConcurrencyLimit, RateLimit
from asyncq.message import MAX_SECONDS, RetryNumbers
from asyncq.queues import MAX_PRIORITY, check_queue_name
from asyncq.retry import RetryPolicy
from asyncq.serializers.flaws import is_utf8
from asyncq.serializers.plain import Plain
from asyncq.tasks.failed import FailureHandler

_LABELS = Plain("labels have no annotation", "leave it out", "pass")


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
