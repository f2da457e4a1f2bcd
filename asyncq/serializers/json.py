"""JSON that refuses what it would have to write as something else, as far as orjson can be told to."""

from collections.abc import Callable
from typing import Any

import orjson

_NOTHING_IN_SILENCE = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)
# Unbound, because a subclass may have an idea of its own of `str(value)` or `value.copy()`.
_BASES: tuple[tuple[type[Any], Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, dict[Any, Any].copy),
    (list, list[Any].copy),
)


def dumps(value: object) -> bytes:
    """Return the value's JSON; raise TypeError where JSON has no such value.

    A subclass of str, int, float, dict or list is written as what it stands on. orjson cannot be told to refuse NaN
    (null), tuples (arrays), UUIDs and enums (text, value): who must know compares what `loads` gives back.
    """
    return orjson.dumps(value, based, _NOTHING_IN_SILENCE)


def loads(data: bytes) -> Any:
    """Return the value that these bytes hold; raise ValueError where they hold none."""
    return orjson.loads(data)


def based(value: object) -> object:
    """Return what a value of a subclass of JSON's own kinds stands on; raise TypeError for anything else."""
    for base, reduced in _BASES:
        if isinstance(value, base):
            return reduced(value)
    raise TypeError(f"JSON has no {type(value).__name__}")
