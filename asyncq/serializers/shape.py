"""The shape of an annotation, as msgspec tells it, and whether anything in it is to be converted."""

from collections.abc import Iterator
from functools import partial
from typing import cast

from msgspec.inspect import (
    AnyType,
    BoolType,
    CustomType,
    DictType,
    Field,
    FloatType,
    FrozenSetType,
    IntType,
    ListType,
    LiteralType,
    NoneType,
    SetType,
    StrType,
    Type,
    TypedDictType,
    UnionType,
)

from asyncq.serializers.foreign import is_carried

_PLAIN = (AnyType, BoolType, LiteralType, NoneType, TypedDictType, UnionType)
_PLAIN_UNLESS_BOUNDED = (FloatType, IntType, StrType)


def is_plain(shape: Type) -> bool:
    """Tell whether nothing in an annotation is to be converted: JSON has all of it.

    Classes that asyncq cannot rebuild count as plain too: whatever JSON gives back equal may be passed for them.
    """
    return all(map(_is_plain_part, _parts_of(shape)))


def has_set(shape: Type) -> bool:
    """Tell whether there is a set anywhere in an annotation."""
    return any(isinstance(part, SetType | FrozenSetType) for part in _parts_of(shape))


def _is_plain_part(part: Type) -> bool:
    match part:
        case ListType(min_length=None, max_length=None):
            return True
        case DictType(key_type=AnyType() | StrType(), min_length=None, max_length=None):
            return True
        case CustomType():
            return not is_carried(part.cls)
        case _:
            return isinstance(part, _PLAIN) or (isinstance(part, _PLAIN_UNLESS_BOUNDED) and part == type(part)())


def _parts_of(shape: Type) -> Iterator[Type]:
    """Yield the shape and every shape inside it, each once: one that holds itself does not end otherwise."""
    left = [shape]
    seen: set[int] = set()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        for value in map(partial(getattr, part), part.__struct_fields__):
            inside = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
            types = (each.type if isinstance(each, Field) else each for each in inside)
            left.extend(each for each in types if isinstance(each, Type))
