"""JSON that refuses."""

from collections import OrderedDict
from typing import Any

import pytest

from asyncq.serializers.json import dumps, loads
from tests.serializers.kinds import NOW, PERSON, Model, Name


class Loud(str):
    """A str with an idea of its own of its text."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


@pytest.mark.parametrize(
    "value", [NOW, NOW.date(), PERSON, Model(when=NOW), b"x", {1}, 2**64, {1: 2}, "\ud800"], ids=str
)
def test_what_json_does_not_have(value: Any) -> None:
    """What JSON does not have is a TypeError, also inside others."""
    for refused in (value, [value], {"a": value}):
        with pytest.raises(TypeError):
            dumps(refused)


def test_subclasses() -> None:
    """A subclass of what JSON has is written as what it stands on, whatever its own methods say."""
    assert loads(dumps([Name("a"), Loud("b"), OrderedDict(c=True)])) == ["a", "b", {"c": True}]
    with pytest.raises(ValueError, match="line 1 column"):
        loads(b"nothing")
