"""What keeps a refused value from coming back equal: found by walking it, and said without showing it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, cast
from uuid import UUID

import msgspec

from asyncq.serializers.foreign import is_model
from asyncq.serializers.json import dumps, loads

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The integers that readers of JSON agree on: those of 64 bits."""

_DEEPEST = 254
"""Levels of lists and dicts that orjson writes."""

_AS_TEXT = (date, time, timedelta, UUID, Decimal, bytes, bytearray, Enum)
_AS_LIST = (tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first part of a value that JSON would not give back equal.

    Attributes:
        what: what it is, with an article; no value of the caller's is shown.
        path: where in the value; empty: it is the value itself. Keys of dicts are not shown.
        hint: the annotation of the whole value that would carry it; empty: none would.
        instead: what to pass in its place.
    """

    what: str
    path: str
    hint: str
    instead: str

    def __str__(self) -> str:
        return f"holds {self.what} (at {self.path})" if self.path else f"is {self.what}"


def flaw_in(value: object, path: str = "", depth: int = 0) -> Flaw | None:
    """Return what keeps JSON from giving a value back equal; None where nothing is found."""
    if depth > _DEEPEST:
        return Flaw(f"more than {_DEEPEST} levels", "its end", "", "something flatter")
    if isinstance(value, dict):
        return _flaw_in_dict(cast("dict[object, object]", value), path, depth)
    if isinstance(value, list):
        for index, each in enumerate(cast("list[object]", value)):
            flaw = flaw_in(each, f"{path}[{index}]", depth + 1)
            if flaw is not None:
                return _inside(flaw, "list[{}]")
        return None
    return None if _comes_back(value) else _flaw_of(value, path)


def scalar_flaw_in(value: object, path: str = "") -> Flaw | None:
    """Return the number or text in a value that JSON has under no annotation; None where nothing is found."""
    flaws = (scalar_flaw_in(each, where) for where, each in _parts_of(value, path))
    return _scalar_flaw(value, path) or next(filter(None, flaws), None)


def named(value: object) -> str:
    """Return the name of the class of a value with its article."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def is_utf8(text: str) -> bool:
    """Tell whether a text can be encoded: half a surrogate pair, as a file name may have it, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flaw_in_dict(value: dict[object, object], path: str, depth: int) -> Flaw | None:
    for key, each in value.items():
        if type(key) is not str:
            hint = f"dict[{type(key).__name__}, {type(each).__name__}]"
            return Flaw(f"{named(key)} as a key", path, hint, "str keys")
        flaw = flaw_in(key, f"{path}[...]") or flaw_in(each, f"{path}[...]", depth + 1)
        if flaw is not None:
            return _inside(flaw, "dict[str, {}]")
    return None


def _inside(flaw: Flaw, around: str) -> Flaw:
    return Flaw(flaw.what, flaw.path, around.format(flaw.hint) if flaw.hint else "", flaw.instead)


def _comes_back(value: object) -> bool:
    try:
        return bool(loads(dumps(value)) == value)
    except Exception:  # == is the value's own, and may raise anything
        return False


def _flaw_of(value: object, path: str) -> Flaw:
    return _scalar_flaw(value, path) or Flaw(named(value), path, _hint_of(value), _instead_of(value))


def _parts_of(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for each in cast("dict[object, object]", value).values():
            yield f"{path}[...]", each
    elif isinstance(value, list | tuple | set | frozenset):
        for index, each in enumerate(cast("list[object]", value)):
            yield f"{path}[{index}]", each
    elif is_dataclass(value) or is_model(type(value)):
        for name in [each.name for each in fields(value)] if is_dataclass(value) else vars(value):
            yield f"{path}.{name}", getattr(value, name)


def _scalar_flaw(value: Any, path: str) -> Flaw | None:
    if isinstance(value, float) and not isfinite(value):
        return Flaw("NaN or infinity, which JSON does not have", path, "", "None or a str")
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return Flaw("an integer beyond 64 bits", path, "", "a str")
    if isinstance(value, str) and not is_utf8(value):
        return Flaw("a str with a lone surrogate, which UTF-8 does not have", path, "", "text that can be encoded")
    return None


def _hint_of(value: object) -> str:
    kind = type(value)
    if isinstance(value, _AS_LIST) and kind in _AS_LIST:
        kinds = sorted({type(each).__name__ for each in cast("tuple[object, ...]", value)})
        inside = " | ".join(kinds) or "Any"
        return f"tuple[{inside}, ...]" if kind is tuple else f"{kind.__name__}[{inside}]"
    is_sent = isinstance(value, (*_AS_TEXT, *_AS_LIST, msgspec.Struct)) or is_dataclass(value) or is_model(kind)
    return kind.__name__ if is_sent else ""


def _instead_of(value: object) -> str:
    if isinstance(value, _AS_TEXT):
        return "a str"
    if isinstance(value, _AS_LIST):
        return "a list"
    if is_dataclass(value) or is_model(type(value)) or isinstance(value, msgspec.Struct):
        return "a dict"
    return "what JSON can hold, a dataclass or a pydantic model"
