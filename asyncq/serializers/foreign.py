"""Classes that msgspec does not know and asyncq carries all the same: models, and subclasses of str, int and float.

Models of pydantic are known by their methods: the library is the user's choice and is never imported.
"""

from typing import Any, TypeGuard

from asyncq.serializers.json import based, dumps

_MOST_REASONS = 5
"""How many of a validator's findings are told; it may have as many as the input has parts."""


def is_carried(kind: object) -> bool:
    """Tell whether values of a class that msgspec does not know can be sent and rebuilt."""
    return is_model(kind) or (isinstance(kind, type) and issubclass(kind, str | int | float))


def sendable(value: object) -> Any:
    """Return a value as msgspec can send it. Raises TypeError when it cannot be sent."""
    return _dumped(value) if is_model(type(value)) else based(value)


def rebuilt(kind: Any, sent: Any) -> Any:
    """Return the value of this class that JSON stands for. Raises TypeError and ValueError where it stands for none."""
    if is_model(kind):
        return _validated(kind, sent)
    if is_carried(kind) and isinstance(sent, str | int | float):
        return kind(sent)
    raise TypeError(f"{getattr(kind, '__name__', kind)} cannot be rebuilt from JSON")


def is_model(kind: object) -> TypeGuard[type[Any]]:
    """Tell whether a class is a model."""
    return isinstance(kind, type) and hasattr(kind, "model_dump") and hasattr(kind, "model_validate_json")


def _dumped(model: Any) -> Any:
    # In the form that it can be read back from: under its aliases and without computed fields.
    return model.model_dump(mode="json", by_alias=True, round_trip=True)


def _validated(kind: type[Any], sent: object) -> Any:
    try:
        # As JSON, not as Python objects: a strict model takes a text for a datetime from JSON alone.
        return kind.model_validate_json(dumps(sent))
    except ValueError as error:
        reasons = getattr(error, "errors", None)
        if reasons is None:
            raise
        # pydantic's own text, and so its traceback, shows the input.
        raise ValueError("; ".join(map(_said, reasons()[:_MOST_REASONS]))) from None


def _said(reason: Any) -> str:
    where = ".".join(map(str, reason["loc"]))
    return f"{where}: {reason['msg']}" if where else reason["msg"]
