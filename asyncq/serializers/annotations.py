"""The annotations of a function, and what each means for the values that pass there."""

from collections.abc import Awaitable, Callable, Coroutine
from inspect import formatannotation
from types import SimpleNamespace
from typing import Any, Optional, get_args, get_origin, get_type_hints

from msgspec.inspect import type_info

from asyncq.serializers.conversion import Conversion
from asyncq.serializers.plain import Plain
from asyncq.serializers.shape import is_plain

Passage = Plain | Conversion
"""How the values of one parameter, or the results of a function, get to JSON and back."""


class Annotations:
    """What the annotations of a function name, as far as that can be told at run time.

    Where one cannot be resolved, because its name is there for type checkers alone, the others hold.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._written: dict[str, Any] = dict(getattr(function, "__annotations__", {}))
        self._resolved = _resolved(function, self._written)

    def parameter(self, name: str, declared: str, *, may_be_none: bool) -> Passage:
        """Return how the arguments of one parameter pass.

        Args:
            name: the parameter's.
            declared: the parameter as it is written: its name, with the stars it may have.
            may_be_none: its default is None, whatever the annotation says.
        """
        return self._passage(name, "the parameter", f"{declared}: ", "pass", may_be_none=may_be_none)

    def returned(self) -> Passage:
        """Return how what the function returns passes."""
        return self._passage("return", "the return value", "-> ", "return", may_be_none=False)

    def _passage(self, name: str, owner: str, declaration: str, verb: str, *, may_be_none: bool) -> Passage:
        advice = f"annotate it ({declaration}{{hint}})"
        if name not in self._written:
            return Plain(f"{owner} has no annotation", advice, verb)
        if name not in self._resolved:
            note = f"the annotation of {owner}, {self._written[name]!r}, cannot be resolved at run time"
            return Plain(note, "import what it names, for more than type checkers,", verb)
        annotation = self._resolved[name]
        text = annotation.__name__ if isinstance(annotation, type) else formatannotation(annotation)
        if name == "return":
            annotation = _awaited(annotation)
        try:
            shape = type_info(annotation)
            if is_plain(shape):
                return Plain(f"{owner} is annotated {text}", advice, verb)
            accepted = Optional[annotation] if may_be_none else annotation  # noqa: UP045 - not every annotation has |
            return Conversion(accepted, text, shape, verb)
        except Exception as error:  # msgspec's own refusals, and whatever resolving the user's own classes raises
            note = f"asyncq cannot tell from JSON what {text}, the annotation of {owner}, stands for ({error})"
            return Plain(note, "choose another annotation", verb)


def _resolved(function: Callable[..., object], written: dict[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # an annotation is any expression, and raises whatever it likes
        names = getattr(function, "__globals__", {})
        resolved: dict[str, Any] = {}
        for name, annotation in written.items():
            resolved |= _resolved_alone(name, annotation, names)
        return resolved


def _resolved_alone(name: str, annotation: Any, names: dict[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(SimpleNamespace(__annotations__={name: annotation}), names, include_extras=True)
    except Exception:
        return {}


def _awaited(annotation: Any) -> Any:
    """Return what a plain function's `-> Awaitable[X]` gives in the end: the worker awaits it."""
    origin = get_origin(annotation)
    return get_args(annotation)[-1] if origin in (Awaitable, Coroutine) else annotation
