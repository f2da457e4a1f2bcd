"""The annotations of a function, as far as they can be resolved."""

from collections.abc import Callable
from typing import Any, get_type_hints


def hints_of(function: Callable[..., object]) -> dict[str, Any]:
    """Return what each annotation names.

    Where one cannot be resolved, because its name is there for type checkers alone, the others are resolved one by one;
    what remains counts as not annotated.
    """
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # an annotation is any expression, and raises whatever it likes
        return {name: hint for name in function.__annotations__ if (hint := _hint_of(function, name)) is not None}


def _hint_of(function: Callable[..., object], name: str) -> Any:
    class Single:
        __annotations__ = {name: function.__annotations__[name]}

    try:
        return get_type_hints(Single, getattr(function, "__globals__", {}), include_extras=True)[name]
    except Exception:
        return None
