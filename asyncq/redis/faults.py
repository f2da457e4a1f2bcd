"""The faults: what the server's errors, and those of the way to it, mean for what comes next."""

from collections.abc import Iterable

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from asyncq.backoff import Backoff

FAULTS = (RedisError, OSError)
"""All that can go wrong on the way, and all that the server can say. (The builtin TimeoutError is an OSError.)"""

_PASSING = (
    *(RedisConnectionError, RedisTimeoutError, OSError, InvalidResponse),
    *(BusyLoadingError, ClusterDownError, ReadOnlyError, TryAgainError),
    AskError,  # and MOVED, which is one
)
_BUSY_WORDS = ("BUSY ", "LOADING ", "MASTERDOWN ", "UNBLOCKED ", "NOREPLICAS ")
_WRAPPED_WORDS = ("-READONLY ", "-NOREPLICAS ")
_FULL_WORDS = ("OOM ", "MISCONF ")
"""Anywhere in the text: below Redis 7 a script wraps what it meets in its own error."""
_FORBIDDEN_WORDS = (
    *("NOPERM ", "can't run this command", "can't access at least one of the keys", "No permissions"),
    "ACL failure in script",  # from Redis 7.2 on, and in Valkey
)

_SOON = Backoff(delay=0.05, max_delay=0.5)
_BUSY = Backoff(delay=0.1, max_delay=1.0)
_TURNED_AWAY = Backoff(delay=0.5, max_delay=5.0)


def is_passing(error: BaseException) -> bool:
    """Say whether another connection, or a little time, may help."""
    text = str(error)
    return isinstance(error, _PASSING) or text.startswith(_BUSY_WORDS) or any(word in text for word in _WRAPPED_WORDS)


def pauses(error: BaseException) -> Backoff:
    """Return the pauses between tries after such an error.

    A connection that broke is opened again soon. A server that is busy, or about to change its role, is given time. One
    that has no place left, or knows another password or no such right, writes each try to its log: it is asked every
    few seconds.
    """
    if isinstance(error, AuthenticationError) or "max number of clients" in str(error) or is_forbidden(error):
        return _TURNED_AWAY
    if isinstance(error, (ResponseError, BusyLoadingError)):
        return _BUSY
    return _SOON


def has_unknown_script(replies: Iterable[object]) -> bool:
    """Say whether one of the replies is that the server does not know the script."""
    return NoScriptError in map(type, replies)


def is_full(reply: object) -> bool:
    """Say whether the server refuses to store more: no memory, or no disk."""
    if isinstance(reply, OutOfMemoryError):
        return True
    return isinstance(reply, ResponseError) and any(word in str(reply) for word in _FULL_WORDS)


def is_forbidden(error: BaseException) -> bool:
    """Say whether the user of the URL lacks a right."""
    return isinstance(error, NoPermissionError) or any(word in str(error) for word in _FORBIDDEN_WORDS)
