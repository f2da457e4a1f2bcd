"""Arguments and results, there and back."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional, TypedDict
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from asyncq.errors import DecodeError
from asyncq.serializers import ArgumentCodec, ResultCodec


class Colour(Enum):
    """A plain enum."""

    RED = "red"


class Level(IntEnum):
    """An enum that equals its number."""

    HIGH = 3


@dataclass
class Address:
    """A dataclass inside another."""

    street: str
    since: date


@dataclass
class Person:
    """A dataclass of rich fields."""

    id: UUID
    address: Address
    colour: Colour
    tags: set[str]


class Model(BaseModel):
    """A model of pydantic."""

    when: datetime
    amount: Decimal = Decimal("1.50")


class Row(TypedDict):
    """A dictionary of plain values."""

    name: str
    count: int


NOW = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
PERSON = Person(uuid4(), Address("Main St", date(2020, 1, 1)), Colour.RED, {"a", "b"})


def through_json(value: Any) -> Any:
    """Send a value as JSON does."""
    return orjson.loads(orjson.dumps(value))


def there_and_back(annotation: Any, value: object) -> object:
    """Return what arrives of an argument of this annotation."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": annotation}
    codec = ArgumentCodec(function)
    args, kwargs = codec.encode((value,), {})
    received, _ = codec.decode(through_json(list(args)), through_json(dict(kwargs)))
    return received[0]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (UUID, uuid4()),
        (datetime, NOW),
        (datetime, datetime(2026, 1, 1)),  # noqa: DTZ001 - naive ones come back naive
        (date, date(2026, 1, 1)),
        (timedelta, timedelta(seconds=90)),
        (Decimal, Decimal("0.10")),
        (bytes, b"\x00\xff"),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (tuple[int, str], (1, "a")),
        (tuple[int, ...], (1, 2, 3)),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"a"})),
        (list[UUID], [uuid4(), uuid4()]),
        (dict[str, Decimal], {"a": Decimal(1)}),
        (dict[int, str], {1: "a"}),
        (Optional[datetime], None),  # noqa: UP045 - the older spelling works too
        (datetime | None, NOW),
        (Annotated[UUID, "an id"], uuid4()),
        (Person, PERSON),
        (list[Person], [PERSON]),
        (Model, Model(when=NOW)),
        (list[Model], [Model(when=NOW)]),
        (Model | None, None),
        (Row, {"name": "a", "count": 1}),
        (Literal["a", 1], "a"),
        (list[dict[str, int | None]], [{"a": None, "b": 1}]),
        (Any, {"a": [1, 2.5, None, True, "é"]}),
    ],
    ids=str,
)
def test_there_and_back(annotation: Any, value: object) -> None:
    """What is sent by annotation arrives equal, and of its own type."""
    received = there_and_back(annotation, value)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (Any, uuid4(), "is a UUID"),
        (str, uuid4(), "is a UUID"),
        (UUID | str, uuid4(), "is a UUID"),
        (Any, NOW, "is a datetime"),
        (Any, (1, 2), "is a tuple"),
        (Any, [(1, 2)], "is a list or holds something"),
        (Any, {1: "a"}, "is a dict or holds something"),
        (Any, {"a": {1, 2}}, "is a dict or holds something"),
        (Any, float("nan"), "is nan"),
        (float, float("inf"), "is inf"),
        (Any, [float("nan")], "is a list"),
        (int, 2**64, "beyond 64 bits"),
        (int, -(2**63) - 1, "beyond 64 bits"),
        (Any, {"a": 2**70}, "is a dict"),
        (str, "\ud800", "lone surrogate"),
        (Any, Colour.RED, "is a Colour"),
        (Any, object(), "is a object"),
        (Any, PERSON, "is a Person"),
        (Any, b"x", "is a bytes"),
        (UUID, "no uuid", "does not fit UUID"),
        (tuple[int, str], (1, 2), "does not fit"),
        (Person, Address("x", date(2020, 1, 1)), "does not fit Person"),
        (list[float], [float("nan")], "is a list"),
        (tuple[float, str], (float("nan"), "a"), "is a tuple"),
    ],
    ids=str,
)
def test_what_would_not_come_back_equal(annotation: Any, value: object, said: str) -> None:
    """What would not come back equal is a TypeError that names function and parameter, before anything is sent."""
    with pytest.raises(TypeError, match=said) as caught:
        there_and_back(annotation, value)
    assert "function() argument 'value'" in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=8,
)
ANYTHING = st.recursive(
    JSON | st.uuids() | st.datetimes() | st.binary() | st.floats() | st.integers() | st.decimals(),
    lambda inside: (
        st.tuples(inside, inside) | st.lists(inside, max_size=3) | st.dictionaries(st.integers(), inside, max_size=2)
    ),
    max_leaves=5,
)


@given(JSON)
def test_everything_json_can_hold(value: object) -> None:
    """Whatever JSON can hold arrives equal."""
    assert there_and_back(Any, value) == value


@given(ANYTHING)
def test_equal_or_refused(value: object) -> None:
    """Whatever is passed either arrives equal or is refused."""
    try:
        received = there_and_back(Any, value)
    except TypeError:
        return
    assert received == value


def shapes() -> list[Callable[..., None]]:
    """Return functions of many signatures."""

    def none() -> None: ...
    def two(a: int, b: int) -> None: ...
    def default(a: int, b: int = 2) -> None: ...
    def keyword(a: int, *, b: int) -> None: ...
    def only(a: int, /, b: int = 2) -> None: ...
    def rest(a: int, *args: int) -> None: ...
    def named(a: int, **kwargs: int) -> None: ...
    def everything(a: int, /, b: int, *args: int, c: int = 3, **kwargs: int) -> None: ...
    def rich(a: UUID, *args: Decimal, **kwargs: datetime) -> None: ...

    return [none, two, default, keyword, only, rest, named, everything, rich]


@given(
    st.sampled_from(shapes()),
    st.lists(st.integers(0, 9), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), max_size=3),
)
def test_it_binds_as_python_does(function: Callable[..., None], args: list[int], kwargs: dict[str, int]) -> None:
    """A call is refused exactly where Python would refuse it, here and in the worker."""
    codec = ArgumentCodec(function)
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match=rf"{function.__name__}\(\)"):
            codec.encode(tuple(args), kwargs)
        with pytest.raises(DecodeError, match=rf"{function.__name__}\(\)"):
            codec.decode(args, kwargs)
        return
    if function.__name__ != "rich":
        sent = codec.encode(tuple(args), kwargs)
        received = codec.decode(through_json(list(sent[0])), through_json(dict(sent[1])))
        given = inspect.signature(function).bind(*args, **kwargs)
        assert inspect.signature(function).bind(*received[0], **received[1]) == given


def test_many_of_one_annotation() -> None:
    """The annotation of *args and **kwargs holds for each of them."""

    def rich(first: UUID, *args: Decimal, **kwargs: datetime) -> None: ...

    codec = ArgumentCodec(rich)
    id = uuid4()
    sent = codec.encode((id, Decimal(1), Decimal(2)), {"when": NOW})
    args, kwargs = codec.decode(through_json(list(sent[0])), through_json(dict(sent[1])))
    assert (tuple(args), kwargs) == ((id, Decimal(1), Decimal(2)), {"when": NOW})
    with pytest.raises(TypeError, match="argument 'when'"):
        codec.encode((id,), {"when": "no time"})


def test_injected_parameters() -> None:
    """A parameter that the worker fills is not accepted from the caller, wherever it stands."""

    def task(a: int, ctx: object = None, b: UUID | None = None) -> None: ...

    codec = ArgumentCodec(task, injected=["ctx"])
    id = uuid4()
    sent = codec.encode((1, id), {})
    args, kwargs = codec.decode(through_json(list(sent[0])), through_json(dict(sent[1])))
    assert (list(args), kwargs) == ([], {"a": 1, "b": id})
    with pytest.raises(TypeError, match="ctx"):
        codec.encode((1,), {"ctx": None})


@pytest.mark.parametrize("value", ["no uuid", 3, None, [], {}], ids=str)
def test_hostile_messages(value: object) -> None:
    """Arguments that are not what the task says raise DecodeError, which names the parameter."""

    def task(id: UUID) -> None: ...

    with pytest.raises(DecodeError, match="argument 'id' is no UUID"):
        ArgumentCodec(task).decode([value], {})


def test_annotations_that_cannot_be_resolved() -> None:
    """An annotation whose name is there for type checkers alone counts as none; the others hold."""

    def task(a: "OnlyForCheckers", b: "UUID") -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    codec = ArgumentCodec(task)
    id = uuid4()
    sent, _ = codec.encode((1, id), {})
    assert list(codec.decode(through_json(list(sent)), {})[0]) == [1, id]


def test_results() -> None:
    """A result travels by the return annotation; without one, only what JSON gives back equal."""

    async def rich() -> list[Person]: ...

    def bare(): ...

    codec = ResultCodec(rich)
    assert codec.decode(through_json(codec.encode([PERSON]))) == [PERSON]
    with pytest.raises(TypeError, match=r"What rich\(\) returned"):
        codec.encode([1])
    with pytest.raises(DecodeError, match=r"The result of rich\(\)"):
        codec.decode([1])
    assert ResultCodec(bare).encode({"a": [1]}) == {"a": [1]}
    with pytest.raises(TypeError, match=r"What bare\(\) returned is a UUID"):
        ResultCodec(bare).encode(uuid4())
