"""Unique calls: what makes two calls of a task the same, and what becomes of the second."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from asyncq.errors import ConfigurationError
from asyncq.message import MAX_SECONDS, OnDuplicate, UniqueKey
from asyncq.serializers import ArgumentCodec
from asyncq.serializers.flaws import is_utf8

MAX_TEXT = 200
"""Characters of a key behind the task's name; a longer one is replaced by its digest."""

Until = Literal["finished", "started"]


@dataclass(frozen=True, slots=True)
class Unique:
    """Lets one call of a key be there at a time: what else is published of that key is a duplicate.

    Attributes:
        by: what makes two calls the same: names of parameters, or a function of all arguments, given by name, that
            returns a text or a number; None: all arguments.
        until: until when a call keeps its key: until it has "finished", retries included; until it has "started"; or
            for so many seconds from its publishing, whatever becomes of it.
        on_duplicate: "return_existing": `kiq` returns the handle of the call that is there. "raise": it raises
            DuplicateId. "replace": a call that waits gets the new arguments, in its place. "debounce": so, and its
            new due time, which needs `options(delay=...)`. One that runs already is returned as it is.
        longest: of "debounce": seconds after the first call at which it runs, however many follow; None: no bound.

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    by: Sequence[str] | Callable[..., str | int] | None = None
    until: Until | float = "finished"
    on_duplicate: OnDuplicate = "return_existing"
    longest: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_by(self.by)
        _check_until(self.until)
        if self.on_duplicate not in get_args(OnDuplicate):
            known = ", ".join(map(repr, get_args(OnDuplicate)))
            raise ConfigurationError(f"Unique(on_duplicate=) is one of {known}; got {self.on_duplicate!r}.")
        if self.on_duplicate == "debounce" and not isinstance(self.until, str):
            raise ConfigurationError(
                f"Unique(until={self.until!r}, on_duplicate='debounce') names two times: a debounced call is due after "
                "its delay. Write until='started', and options(delay=...) where it is published."
            )
        if self.longest is not None:
            if self.on_duplicate != "debounce":
                raise ConfigurationError(
                    f"Unique(longest=) bounds a debounce; got on_duplicate={self.on_duplicate!r}. Leave it out."
                )
            _check_seconds("longest", self.longest)
        if self.by is not None and not callable(self.by):
            object.__setattr__(self, "by", tuple(self.by))

    def check_parameters(self, task: str, arguments: ArgumentCodec) -> None:
        """Raise ConfigurationError where `by` names what the task has not."""
        if self.by is None or callable(self.by):
            return
        known = arguments.parameters
        for name in self.by:
            if name not in known:
                raise ConfigurationError(
                    f"Unique(by={self.by!r}): task {task!r} takes no argument {name!r}. "
                    f"It takes {', '.join(map(repr, known)) or 'none'}."
                )

    def key_of(
        self, task: str, arguments: ArgumentCodec, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> UniqueKey:
        """Return what a call of these arguments has to itself.

        Raises:
            TypeError: the function of the arguments returned what is no key.
            Exception: whatever that function raises.
        """
        if callable(self.by):
            text = _text_of(task, self.by(**arguments.named(args, kwargs)))
        else:
            sent = arguments.sent_by_name(args, kwargs)
            values = [sent[name] for name in (sent if self.by is None else self.by)]
            text = msgspec.json.encode(values, order="deterministic")[1:-1].decode()
        is_timed = not isinstance(self.until, str)
        return UniqueKey(
            key=f"{task}:{_short(text)}",
            until="seconds" if isinstance(self.until, int | float) else self.until,
            seconds=float(self.until) if is_timed else 0.0,
            on_duplicate=self.on_duplicate,
            longest=self.longest or 0.0,
        )


def check_unique(unique: Unique | None) -> None:
    """Raise ConfigurationError for what is no `Unique`."""
    if unique is not None and not isinstance(unique, Unique):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"unique= is a Unique(...), or None; got {unique!r}.")


def _check_by(by: Any) -> None:
    if by is None or callable(by):
        return
    names: list[Any] = [] if isinstance(by, str) or not isinstance(by, Sequence) else list(by)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"Unique(by=) is a tuple of names of parameters, by=('user_id',), or a function of the arguments, or None "
            f"for all of them; got {by!r}."
        )


def _check_until(until: Any) -> None:
    if isinstance(until, str):
        if until not in get_args(Until):
            raise ConfigurationError(f"Unique(until=) is 'started', 'finished' or a number of seconds; got {until!r}.")
        return
    _check_seconds("until", until)


def _check_seconds(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0.001 <= value <= MAX_SECONDS:
        raise ConfigurationError(
            f"Unique({name}=) is a number of seconds, 0.001 or more, a hundred years at most; got {value!r}."
        )


def _text_of(task: str, key: Any) -> str:
    if isinstance(key, str | int) and not isinstance(key, bool) and is_utf8(str(key)):
        return str(key)
    raise TypeError(
        f"Unique(by=) of task {task!r} has to return a text or a whole number; it returned {key!r}. "
        "For several values join them: f'{user_id}/{day}'."
    )


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"#{hashlib.sha256(text.encode()).hexdigest()}"
