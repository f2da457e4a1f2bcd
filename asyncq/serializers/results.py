"""The result of a task: made ready for JSON by its return annotation, and back."""

from collections.abc import Callable
from typing import Any

from asyncq.errors import DecodeError
from asyncq.serializers.conversion import conversion_for
from asyncq.serializers.hints import hints_of
from asyncq.serializers.plain import problem_with


class ResultCodec:
    """Sends and receives what one function returns."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._name = function.__name__
        self._conversion = conversion_for(hints_of(function).get("return"))

    def encode(self, value: object) -> object:
        """Return the value as JSON has it. Raises TypeError naming the function when it would not come back equal."""
        if self._conversion is not None:
            try:
                return self._conversion.encode(value)
            except TypeError as error:
                raise TypeError(f"What {self._name}() returned {error}.") from error
        problem = problem_with(value)
        if problem is not None:
            raise TypeError(f"What {self._name}() returned {problem}.")
        return value

    def decode(self, value: Any) -> Any:
        """Return the value that JSON stands for. Raises DecodeError when it stands for none of this type."""
        if self._conversion is None:
            return value
        try:
            return self._conversion.decode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DecodeError(f"The result of {self._name}() is no {self._conversion}: {error}") from error
