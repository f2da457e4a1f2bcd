"""Plain values: those that JSON gives back equal without knowing their type."""

from collections.abc import Iterable
from math import isfinite
from typing import Any

from asyncq.serializers.flaws import LARGEST, SMALLEST, flaw_in, is_utf8, named
from asyncq.serializers.json import dumps, loads


def are_scalars(values: Iterable[Any]) -> bool:
    """Tell whether every value is a str, int, float, bool or None that JSON has. Run for each call, so kept flat."""
    for value in values:
        kind = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything whatever
        if kind is str:
            if not value.isascii() and not is_utf8(value):
                return False
        elif kind is int:
            if not SMALLEST <= value <= LARGEST:
                return False
        elif kind is float:
            if not isfinite(value):
                return False
        elif kind is not bool and value is not None:
            return False
    return True


class Plain:
    """Passes values that no annotation converts, and refuses those that would not come back equal.

    Args:
        note: why nothing is converted, as a half sentence.
        advice: what to change in the declaration; `{hint}` stands for the annotation that would carry the value.
        verb: what the user does with a value: "pass" or "return".
    """

    __slots__ = ("_advice", "_note", "_verb")

    def __init__(self, note: str, advice: str, verb: str) -> None:
        self._note = note
        self._advice = advice
        self._verb = verb

    def encode(self, value: object) -> object:
        """Return the value as JSON has it. Raises TypeError with the rest of the sentence that says why it cannot.

        A dict or list is returned as a copy, so that what is sent is what was checked, whatever the caller does next.
        """
        if are_scalars((value,)):
            return value
        try:
            back = loads(dumps(value))
            if back == value:
                return back
        except Exception as error:  # == is the value's own, and may raise anything
            raise TypeError(self._refusal(value)) from error
        raise TypeError(self._refusal(value))

    def decode(self, sent: object) -> object:
        """Return what was sent."""
        return sent

    def _refusal(self, value: object) -> str:
        flaw = flaw_in(value)
        if flaw is None:
            return f"is {named(value)} that JSON would not give back equal: {self._verb} what JSON can hold"
        if not flaw.hint:
            return f"{flaw}: {self._verb} {flaw.instead}"
        advice = self._advice.replace("{hint}", flaw.hint)
        return f"{flaw}, but {self._note}: {advice} or {self._verb} {flaw.instead}"
