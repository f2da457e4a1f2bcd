"""The limits that are declared: values that a task, or any code, is given."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from asyncq.errors import ConfigurationError
from asyncq.limits.numbers import Kind, LimitId, Numbers

MAX_LIMIT = 1_000_000_000
MAX_PER = 366 * 24 * 3600.0
"""Seconds: a year."""

MAX_NAME = 200

POSITION = "#"
"""Stands before the position of a limit without a name among the several of its task. No name has it."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Never more than `limit` starts in any window of `per` seconds, over all processes, by the server's clock.

    Attributes:
        limit: how many, 1 or more.
        per: seconds, 0.001 or more.
        key: returns which of the limit's counts a call belongs to; it is called where the call is published, with all
            arguments by name, and returns a text, a number or a UUID. None: the limit has one count.
        burst: how many may start at once; it only lowers that. None: `limit`.
        name: limits of one name are one limit, whoever declares it. None: the task's name; where the task has several,
            with `#` and the position, which no other limit can be called.
        weight: how many starts a call counts for; a number, or a function of the arguments as `key` is.
    """

    limit: int
    per: float
    _: KW_ONLY
    key: Callable[..., object] | None = None
    burst: int | None = None
    name: str | None = None
    weight: int | Callable[..., int] = 1

    def __post_init__(self) -> None:
        what = "RateLimit"
        check_count(what, "limit", self.limit)
        if not _is_number(self.per) or not 0.001 <= self.per <= MAX_PER:
            raise ConfigurationError(
                f"RateLimit: per= is a number of seconds from 0.001 to {MAX_PER:g}, a year; got {self.per!r}. "
                "100 a minute is RateLimit(100, per=60)."
            )
        if self.burst is not None:
            check_count(what, "burst", self.burst)
            if self.burst > self.limit:
                raise ConfigurationError(
                    f"RateLimit: burst= only lowers how many may start at once; {self.burst} is more than the limit of "
                    f"{self.limit}."
                )
        check_function(what, "key", self.key)
        check_name(what, self.name)
        if not callable(self.weight):
            check_count(what, "weight", self.weight)
            if self.weight > self.limit:
                raise ConfigurationError(
                    f"RateLimit: a call of weight {self.weight} can never start under a limit of {self.limit}."
                )

    @property
    def numbers(self) -> Numbers:
        """What of it is declared to the server."""
        return Numbers(self.limit, round(self.per * 1000), self.burst or 0)


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Never more than `n` runs at once, over all processes. Who waits is served in order.

    Attributes:
        n: how many, 1 or more.
        key, name: as in `RateLimit`.
    """

    n: int
    _: KW_ONLY
    key: Callable[..., object] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        check_count("ConcurrencyLimit", "n", self.n)
        check_function("ConcurrencyLimit", "key", self.key)
        check_name("ConcurrencyLimit", self.name)

    @property
    def numbers(self) -> Numbers:
        """What of it is declared to the server."""
        return Numbers(self.n)


def limit_id(limit: RateLimit | ConcurrencyLimit, name: str) -> LimitId:
    """Return what a limit is known by that has no name of its own, or one."""
    return LimitId(Kind.RATE if isinstance(limit, RateLimit) else Kind.SLOTS, limit.name or name)


def check_count(what: str, option: str, value: object) -> None:
    """Raise ConfigurationError for what is no whole number from 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_LIMIT:
        raise ConfigurationError(f"{what}: {option}= is a whole number from 1 to {MAX_LIMIT:,}; got {value!r}.")


def check_name(what: str, name: object) -> None:
    """Raise ConfigurationError for what cannot name a limit."""
    if name is None:
        return
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_NAME
        or any(not each.isprintable() or each.isspace() or each == POSITION for each in name)
    ):
        raise ConfigurationError(
            f"{what}: name= is a word of 1 to {MAX_NAME} printable characters without spaces and {POSITION!r}; "
            f"got {name!r}."
        )


def check_function(what: str, option: str, function: Any) -> None:
    """Raise ConfigurationError for what cannot be called."""
    if function is not None and not callable(function):
        raise ConfigurationError(
            f"{what}: {option}= is a function of the task's arguments, e.g. "
            f"{option}=lambda user_id, **_: user_id; got {function!r}."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
