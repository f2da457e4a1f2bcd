"""Plain values: those that JSON gives back equal without knowing their type."""

import types
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin, is_typeddict

import orjson

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The integers that JSON readers agree on: those of 64 bits."""

_NOTHING_IN_SILENCE = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)
_ALWAYS = frozenset({bool, type(None)})
_SCALARS = frozenset({str, int, float, bool, type(None), object, list, dict})


def problem_with(value: object) -> str | None:
    """Return why a value would not come back equal, None when it would.

    Containers are sent there and back in C: cheaper than walking them, and no rule of its own to get wrong.
    """
    kind = type(value)
    if kind in _ALWAYS:
        return None
    try:
        back = orjson.loads(orjson.dumps(value, option=_NOTHING_IN_SILENCE))
    except (TypeError, ValueError, RecursionError) as error:
        return _why(value, str(error))
    return None if back == value else _why(value, "")


def is_plain(annotation: Any) -> bool:
    """Tell whether an annotation promises nothing but plain values, so that nothing is to be converted."""
    if annotation is None or annotation is Any or isinstance(annotation, TypeVar):
        return True
    if isinstance(annotation, NewType):
        return is_plain(annotation.__supertype__)
    origin = get_origin(annotation)
    if origin is None:
        return _is_plain_class(annotation)
    if origin is Annotated:
        return is_plain(get_args(annotation)[0])
    if origin is Literal:
        return all(type(each) in _SCALARS for each in get_args(annotation))
    if origin in (Union, types.UnionType, list):
        return all(is_plain(each) for each in get_args(annotation))
    return origin is dict and get_args(annotation)[0] is str and is_plain(get_args(annotation)[1])


def _is_plain_class(annotation: Any) -> bool:
    try:
        if annotation in _SCALARS:
            return True
    except TypeError:  # not hashable, so no class
        return False
    return is_typeddict(annotation) and all(is_plain(each) for each in annotation.__annotations__.values())


def _why(value: Any, error: str) -> str:
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return "is an integer beyond 64 bits: pass it as a str"
    if isinstance(value, float):
        return f"is {value}, which JSON does not have"
    if isinstance(value, str):
        return "holds a lone surrogate, which UTF-8 does not have"
    kind = type(value).__name__
    inside = " or holds something" if kind in ("list", "dict", "tuple") else ""
    detail = f" ({error})" if error else ""
    return (
        f"is a {kind}{inside} that JSON would not give back equal{detail}: "
        "annotate it with its type, or pass what JSON can hold"
    )
