"""The terms of a task's calls: its key functions, asked about the arguments."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from inspect import signature
from typing import Any
from uuid import UUID

from asyncq.errors import ConfigurationError
from asyncq.limits import LimitId, Numbers, RateLimit, limit_id
from asyncq.limits.declared import POSITION, check_name
from asyncq.serializers import ArgumentCodec
from asyncq.tasks.options import TaskOptions
from asyncq.terms import RateTerm, SlotTerm, Terms

MAX_KEY = 500
"""Characters of a key: it is part of the name under which a server keeps things."""

_OF_LIMIT, _OF_GROUP = "key function of a limit", "function that is its group="

_KEYS = (str, int, float, UUID, Decimal, date)


class TermsMaker:
    """Makes the terms of calls.

    Args:
        task: its name.
        options: with its limits.
        arguments: binds the arguments of a call to their names.

    Attributes:
        is_any: whether its calls have terms at all.
        is_limited: whether these have to be granted.
        limits: that they need, and what these allow.

    Raises:
        ConfigurationError: a key function cannot take the task's arguments.
    """

    def __init__(self, task: str, options: TaskOptions, arguments: ArgumentCodec) -> None:
        rates, slots = options.rate_limits, options.concurrency
        self.is_limited = bool(rates) or slots is not None
        self.is_any = self.is_limited or options.group is not None
        self.limits: Mapping[LimitId, Numbers] = {}
        if not self.is_any:
            return
        self._task = task
        self._arguments = arguments
        self._group = options.group
        self._rates = [
            (rate, limit_id(rate, task if len(rates) == 1 else f"{task}{POSITION}{number}"))
            for number, rate in enumerate(rates, 1)
        ]
        self._slots = None if slots is None else (slots, limit_id(slots, task))
        each = [*self._rates, *([self._slots] if self._slots else [])]
        self.limits = {id: limit.numbers for limit, id in each}
        self._check("group=", self._group)
        for limit, _ in each:
            check_name(f"Task {task!r}, whose name its limit takes", limit.name or task)
            self._check("a limit's key=", limit.key)
            if isinstance(limit, RateLimit) and callable(limit.weight):
                self._check("a limit's weight=", limit.weight)

    def make(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Terms:
        """Return the terms of a call. Raises TypeError for what is no key, ValueError for no weight."""
        named = self._arguments.named(args, kwargs)
        rates = tuple(
            RateTerm(id.name, self._key(_OF_LIMIT, limit.key, named), self._weight(limit, named))
            for limit, id in self._rates
        )
        group = self._key(_OF_GROUP, self._group, named)
        if self._slots is None:
            return Terms(rates=rates, group=group)
        limit, id = self._slots
        return Terms(rates=rates, slots=(SlotTerm(id.name, self._key(_OF_LIMIT, limit.key, named)),), group=group)

    def completed(self, terms: Terms | None, args: Sequence[object], kwargs: Mapping[str, object]) -> Terms:
        """Return the terms of a call whose message has these: no limits, where its publisher knew of none."""
        return self.make(args, kwargs) if terms is None or not terms.needs_grant else terms

    def _check(self, what: str, function: Callable[..., object] | None) -> None:
        if function is None:
            return
        try:
            signature(function).bind(**dict.fromkeys(self._arguments.names))
        except ValueError:  # some builtins tell nothing of themselves
            return
        except TypeError as error:
            raise ConfigurationError(
                f"Task {self._task!r}: {what} is called with all arguments by name "
                f"({', '.join(self._arguments.names)}), and this one cannot be: {error}. "
                "Take those that you need, and **_ for the rest: lambda user_id, **_: user_id."
            ) from error

    def _key(self, whose: str, function: Callable[..., object] | None, named: Mapping[str, Any]) -> str:
        if function is None:
            return ""
        key = function(**named)
        if isinstance(key, Enum):
            key = key.value
        if not isinstance(key, _KEYS) or isinstance(key, bool):
            raise TypeError(
                f"Task {self._task!r}: the {whose} returns a text, a number, a date or a UUID; it returned {key!r}."
            )
        text = str(key)
        if len(text) > MAX_KEY:
            raise TypeError(
                f"Task {self._task!r}: what the {whose} returns has {MAX_KEY} characters at most; "
                f"this has {len(text):,}."
            )
        return text

    def _weight(self, limit: RateLimit, named: Mapping[str, Any]) -> int:
        if not callable(limit.weight):
            return limit.weight
        weight: Any = limit.weight(**named)
        if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= limit.limit:
            raise ValueError(
                f"Task {self._task!r}: a weight is a whole number from 1 to the limit, {limit.limit:,}; "
                f"its function returned {weight!r}."
            )
        return weight
