"""The result of a task: made ready for JSON by its return annotation, and back."""

from collections.abc import Callable
from typing import Any

from asyncq.errors import DecodeError
from asyncq.serializers.annotations import Annotations
from asyncq.serializers.conversion import reason_of


class ResultCodec:
    """Sends and receives what one function returns."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._name = function.__name__
        self._passage = Annotations(function).returned()

    def encode(self, value: object) -> object:
        """Return the value as JSON has it. Raises TypeError naming the function when it would not come back equal."""
        try:
            return self._passage.encode(value)
        except TypeError as error:
            raise TypeError(f"What {self._name}() returned {error}.") from error.__cause__

    def decode(self, value: object) -> Any:
        """Return the value that JSON stands for. Raises DecodeError when it stands for none of this type."""
        try:
            return self._passage.decode(value)
        except Exception as error:  # constructors and validators are the user's, and may raise anything
            raise DecodeError(
                f"The result of {self._name}() is no {self._passage}: {reason_of(error)}. "
                "Does the worker run another version of the code?"
            ) from error
