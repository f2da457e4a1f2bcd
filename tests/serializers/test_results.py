"""Results, there and back."""

from collections.abc import Awaitable, Coroutine
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from asyncq.errors import DecodeError
from asyncq.serializers import ResultCodec
from tests.serializers.kinds import NOW, PERSON, Model, Person, travelled


def there_and_back(codec: ResultCodec, value: object) -> Any:
    """Return what the caller gets of a result."""
    return codec.decode(travelled([codec.encode(value)], {})[0][0])


def test_by_return_annotation() -> None:
    """A result travels by the return annotation of a function, whether it is awaited or not."""

    async def people() -> list[Person]: ...
    def when() -> datetime | None: ...
    def later() -> Awaitable[Decimal]: ...
    def later_still() -> Coroutine[Any, Any, Model]: ...

    assert there_and_back(ResultCodec(people), [PERSON]) == [PERSON]
    assert there_and_back(ResultCodec(when), None) is None
    assert there_and_back(ResultCodec(when), NOW) == NOW
    assert there_and_back(ResultCodec(later), Decimal("1.10")) == Decimal("1.10")
    assert there_and_back(ResultCodec(later_still), Model(when=NOW)) == Model(when=NOW)


def test_without_annotation() -> None:
    """Without an annotation a result is what JSON gives back equal; else the refusal says what to write."""

    def bare(): ...

    assert there_and_back(ResultCodec(bare), {"a": [1, None]}) == {"a": [1, None]}
    with pytest.raises(TypeError) as caught:
        ResultCodec(bare).encode(uuid4())
    assert str(caught.value) == (
        "What bare() returned is a UUID, but the return value has no annotation: annotate it (-> UUID) or return a str."
    )


def test_what_does_not_fit() -> None:
    """A result that would not come back equal, and one that is not what the annotation says, are refused."""

    def find() -> UUID: ...
    def measure() -> float: ...

    with pytest.raises(TypeError, match=r"^What find\(\) returned is an int that does not fit UUID: Expected `uuid`"):
        ResultCodec(find).encode(3)
    with pytest.raises(TypeError, match=r"^What measure\(\) returned is NaN or infinity.*: return None or a str\.$"):
        ResultCodec(measure).encode(float("nan"))
    with pytest.raises(
        DecodeError, match=r"^The result of find\(\) is no UUID: Expected `uuid`, got `int`\. Does the worker"
    ):
        ResultCodec(find).decode(3)
