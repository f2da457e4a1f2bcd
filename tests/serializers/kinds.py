"""Kinds of values that the tests of arguments send, and the way they take."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, NamedTuple, NewType, TypedDict
from uuid import UUID

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, computed_field

from asyncq.message import PROTOCOL_VERSION, Message, decode_message, encode_message
from asyncq.serializers import ArgumentCodec


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Access(Flag):
    READ = 1
    WRITE = 2


class Corner(Enum):
    """Of values that JSON does not have."""

    LEFT = (0, 1)


class Name(str):
    __slots__ = ()


UserId = NewType("UserId", int)


@dataclass
class Address:
    street: str
    since: date


@dataclass
class Person:
    id: UUID
    address: Address
    colour: Colour
    tags: set[str]
    photo: bytes = b""
    extra: Any = None
    score: float = 0.0


@dataclass
class Employee(Person):
    boss: Person | None = None


@dataclass
class Positive:
    """One whose constructor refuses, with an error that is no ValueError."""

    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise KeyError("negative")


@dataclass(eq=False)
class Lonely:
    """One that equals itself alone."""

    value: int


class Point(NamedTuple):
    x: int
    at: date


class Pair(Struct):
    left: UUID
    right: date


class Row(TypedDict):
    name: str
    count: int


class Event(TypedDict):
    at: datetime


class Tree(TypedDict):
    children: "list[Tree]"


class Model(BaseModel):
    when: datetime
    amount: Decimal = Decimal("1.50")


class Strict(BaseModel):
    """A model that takes nothing but what it declares, under other names, and gives more."""

    model_config = ConfigDict(strict=True, extra="forbid")

    user_id: UUID = Field(alias="userId")
    tags: set[str]

    @computed_field
    @property
    def count(self) -> int:
        return len(self.tags)


@dataclass
class Order:
    model: Model
    lines: list[Model] = field(default_factory=list[Model])


NOW = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
SOME_ID = UUID("0c7b2c9e-4f3a-4d0c-9a39-0a5f6d1f3e11")
OTHER_ID = UUID("5b1f7d36-62f0-4d7e-8a53-7f2f5c8c2b22")

PERSON = Person(SOME_ID, Address("Main St", date(2020, 1, 1)), Colour.RED, {"a"}, b"\x00\xff")


def taking(annotation: Any = None) -> Callable[..., None]:
    """Return a function of one parameter, annotated so; None: not annotated."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {} if annotation is None else {"value": annotation}
    return function


def travelled(args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return what a worker finds in the message of such arguments."""
    sent = Message(v=PROTOCOL_VERSION, id="1", task="t", args=args, kwargs=kwargs)
    message = decode_message(encode_message(sent))
    return message.args, message.kwargs


def arrived(codec: ArgumentCodec, *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return what the function is called with in the worker."""
    received, named = codec.decode(*travelled(*codec.encode(args, kwargs)))
    return list(received), named


def there_and_back(annotation: Any, value: object) -> Any:
    """Return what arrives of an argument of this annotation."""
    return arrived(ArgumentCodec(taking(annotation)), value)[0][0]
