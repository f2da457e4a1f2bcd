"""Whether what came back is what was sent, where `==` says no to the same instant in two zones."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, cast

from asyncq.serializers.foreign import is_model

_COMPARED_IN_MODELS = ("__dict__", "__pydantic_private__", "__pydantic_extra__")


def is_same(sent: Any, back: Any) -> bool:
    """Tell whether two values are equal, datetimes with a zone being equal if they are the same instant.

    Python says otherwise in one hour of the year, the one that is repeated when summer time ends: there, datetimes of
    two zones are never equal (PEP 495), and neither is what holds one. Raises whatever the `==` of the values raises.
    """
    if sent == back:
        return True
    if type(sent) is not type(back):
        return False
    if isinstance(sent, datetime):
        return bool(sent.tzinfo and back.tzinfo) and sent.astimezone(UTC) == back.astimezone(UTC)
    parts, others = _compared_in(sent), _compared_in(back)
    return (
        bool(parts) and parts.keys() == others.keys() and all(is_same(part, others[key]) for key, part in parts.items())
    )


def _compared_in(value: Any) -> Mapping[Any, object]:
    """Return the parts that `==` compares, by key; none where that is not known."""
    if isinstance(value, dict):
        return cast("dict[object, object]", value)
    if isinstance(value, list | tuple):
        return dict(enumerate(cast("list[object]", value)))
    if is_dataclass(value) and cast("Any", value).__dataclass_params__.eq:
        return {each.name: getattr(value, each.name) for each in fields(value) if each.compare}
    if is_model(cast("type[Any]", type(value))):
        return {name: getattr(value, name) for name in _COMPARED_IN_MODELS}
    return {}
