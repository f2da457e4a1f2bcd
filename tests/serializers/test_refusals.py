"""What is refused, before anything is sent and in the worker, and what the user reads."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq.errors import DecodeError
from asyncq.serializers import ArgumentCodec
from tests.serializers.kinds import (
    NOW,
    PERSON,
    Address,
    Colour,
    Corner,
    Employee,
    Lonely,
    Model,
    Name,
    Person,
    Positive,
    taking,
)

NAN = float("nan")
NOTHING = "but the parameter has no annotation: annotate it"
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


class Rough:
    """One whose comparison raises."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as Python itself does


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (None, NOW, f"is a datetime, {NOTHING} (value: datetime) or pass a str."),
        (None, uuid4(), f"is a UUID, {NOTHING} (value: UUID) or pass a str."),
        (None, b"x", f"is a bytes, {NOTHING} (value: bytes) or pass a str."),
        (None, Colour.RED, f"is a Colour, {NOTHING} (value: Colour) or pass a str."),
        (None, Decimal(1), f"is a Decimal, {NOTHING} (value: Decimal) or pass a str."),
        (None, (1, "a"), f"is a tuple, {NOTHING} (value: tuple[int | str, ...]) or pass a list."),
        (None, {1, 2}, f"is a set, {NOTHING} (value: set[int]) or pass a list."),
        (None, PERSON, f"is a Person, {NOTHING} (value: Person) or pass a dict."),
        (None, Model(when=NOW), f"is a Model, {NOTHING} (value: Model) or pass a dict."),
        (None, [1, (2,)], f"holds a tuple (at [1]), {NOTHING} (value: list[tuple[int, ...]]) or pass a list."),
        (
            None,
            {"a": [NOW]},
            f"holds a datetime (at [...][0]), {NOTHING} (value: dict[str, list[datetime]]) or pass a str.",
        ),
        (None, {1: "a"}, f"is an int as a key, {NOTHING} (value: dict[int, str]) or pass str keys."),
        (None, {Name("a"): 1}, f"is a Name as a key, {NOTHING} (value: dict[Name, int]) or pass str keys."),
        (str, NOW, "is a datetime, but the parameter is annotated str: annotate it (value: datetime) or pass a str."),
        (Any, NOW, "is a datetime, but the parameter is annotated Any: annotate it (value: datetime) or pass a str."),
        (
            "Later",
            NOW,
            "is a datetime, but the annotation of the parameter, 'Later', cannot be resolved at run time: import",
        ),
        (UUID | str, uuid4(), "is a UUID, but asyncq cannot tell from JSON what uuid.UUID | str, the annotation"),
        (Corner, Corner.LEFT, "is a Corner, but asyncq cannot tell from JSON what Corner, the annotation"),
        (None, NAN, "is NaN or infinity, which JSON does not have: pass None or a str."),
        (float, -float("inf"), "is NaN or infinity, which JSON does not have: pass None or a str."),
        (list[float], [NAN], "holds NaN or infinity, which JSON does not have (at [0]): pass None or a str."),
        (None, 2**64, "is an integer beyond 64 bits: pass a str."),
        (int, -(2**63) - 1, "is an integer beyond 64 bits: pass a str."),
        (None, {"a": 2**70}, "holds an integer beyond 64 bits (at [...]): pass a str."),
        (str, "\ud800", "is a str with a lone surrogate, which UTF-8 does not have: pass text that can be encoded."),
        (None, {"\ud800": 1}, "holds a str with a lone surrogate, which UTF-8 does not have (at [...]): pass"),
        (None, object(), "is an object: pass what JSON can hold, a dataclass or a pydantic model."),
        (Path, Path("x"), "Path: pass what JSON can hold, a dataclass or a pydantic model."),
        (None, Rough(), "is a Rough: pass what JSON can hold"),
        (None, CYCLE, "holds more than 254 levels"),
        (UUID, "no uuid", "is a str that does not fit UUID: Invalid UUID."),
        (UUID, str(UUID(int=1)), "is a str that would come back as a UUID through UUID."),
        (NOW.__class__, None, "is a NoneType that does not fit datetime: Expected `datetime`, got `null`."),
        (
            tuple[int, str],
            (1, 2),
            "is a tuple that does not fit tuple[int, str]: Expected `str`, got `int` - at `$[1]`.",
        ),
        (
            Sequence[UUID],
            (uuid4(),),
            "is a tuple that would come back as a list through collections.abc.Sequence[uuid.UUID].",
        ),
        (Decimal, 0.1, "is a float that would come back as a Decimal through Decimal."),
        (Decimal, Decimal("sNaN"), "is a Decimal that does not fit Decimal: InvalidOperation"),
        (Person, replace(PERSON, score=NAN), "holds NaN or infinity, which JSON does not have (at .score): pass None"),
        (
            Person,
            replace(PERSON, extra=[NAN]),
            "holds NaN or infinity, which JSON does not have (at .extra[0]): pass None",
        ),
        (Person, replace(PERSON, extra=2**64), "holds an integer beyond 64 bits (at .extra): pass a str."),
        (Person, replace(PERSON, extra=(1,)), "is a Person that would come back changed through Person."),
        (Person, replace(PERSON, extra=uuid4()), "is a Person that would come back changed through Person."),
        (Person, replace(PERSON, extra=CYCLE), "is a Person that does not fit Person: RecursionError"),
        (
            Person,
            replace(PERSON, extra=Rough()),
            "is a Person that does not fit Person: TypeError: JSON has no Rough.",
        ),
        (Person, Employee(*vars(PERSON).values()), "is an Employee that would come back as a Person through Person."),
        (Person, Address("x", date(2026, 1, 1)), "is an Address that does not fit Person"),
        (Lonely, Lonely(1), "is a Lonely that would come back changed through Lonely."),
        (Model, {"when": "secret"}, "is a dict that does not fit Model: when: Input should be a valid datetime"),
    ],
    ids=lambda each: each if isinstance(each, str) and each.isascii() else "",
)
def test_what_would_not_come_back_equal(annotation: Any, value: object, said: str) -> None:
    """What would not come back equal is a TypeError that says what was passed, where, and what to do."""
    with pytest.raises(TypeError) as caught:
        ArgumentCodec(taking(annotation)).encode((value,), {})
    text = str(caught.value)
    assert text.startswith("function() argument 'value' ")
    assert said in text
    assert "secret" not in text


def test_every_parameter_is_named() -> None:
    """The refusal names the parameter, and among those of *args and **kwargs the one."""

    def task(a: int, *args: UUID, b: str = "", **kwargs: Decimal) -> None: ...

    codec = ArgumentCodec(task)
    for args, kwargs, name in [
        ((NOW,), {}, "a"),
        ((1, uuid4(), 3), {}, "args"),
        ((1,), {"b": NOW}, "b"),
        ((1,), {"price": NOW}, "price"),
    ]:
        with pytest.raises(TypeError, match=rf"^task\(\) argument '{name}' "):
            codec.encode(args, kwargs)


def test_names_that_cannot_be_sent() -> None:
    """A name for **kwargs that UTF-8 does not have is refused."""

    def task(**kwargs: int) -> None: ...

    with pytest.raises(TypeError, match=r"task\(\) argument '\\ud800' is a str with a lone surrogate"):
        ArgumentCodec(task).encode((), {"\ud800": 1})


@pytest.mark.parametrize(
    ("annotation", "sent", "said"),
    [
        (UUID, "no uuid", r"is no UUID: Invalid UUID\. "),
        (UUID, 3, r"is no UUID: Expected `uuid`, got `int`\. "),
        (UUID, None, r"is no UUID: Expected `uuid`, got `null`\. "),
        (list[UUID], [{}], r"is no list\[uuid.UUID\]: Expected `uuid`, got `object` - at `\$\[0\]`\. "),
        (Person, {}, r"is no Person: Object missing required field `id`\. "),
        (Positive, {"value": -1}, r"is no Positive: KeyError: 'negative'\. "),
        (Model, {"when": "secret", "amount": []}, r"is no Model: when: Input should be a valid datetime.*; amount: "),
        (Model, [], r"is no Model: Input should be an object"),
        (list[Model], [[]], r"is no list\[.*Model\]: Input should be an object - at `\$\[0\]`\. "),
        (Name, [], r"is no Name: Name cannot be rebuilt from JSON"),
    ],
    ids=str,
)
def test_messages_that_do_not_fit(annotation: Any, sent: object, said: str) -> None:
    """What the function does not take is a DecodeError: what was wanted, what was found, and why that may be."""
    with pytest.raises(DecodeError, match=rf"^function\(\) argument 'value' {said}") as caught:
        ArgumentCodec(taking(annotation)).decode([sent], {})
    assert str(caught.value).endswith("Was the message published by another version of the code, or by hand?")
    assert "secret" not in str(caught.value)


def test_calls_that_do_not_fit() -> None:
    """A call that the function cannot take is refused in Python's words, here and in the worker."""

    def send(user_id: int, *, body: str, ctx: object = None) -> None: ...

    codec = ArgumentCodec(send, injected=["ctx"])
    for args, kwargs, said in [
        ((), {"body": ""}, "send() missing 1 required positional argument: 'user_id'"),
        ((1,), {}, "send() missing 1 required keyword-only argument: 'body'"),
        (
            (1, 2),
            {"body": ""},
            "send() takes 1 positional argument but 2 positional arguments (and 1 keyword-only argument) were given",
        ),
        ((1,), {"user_id": 2, "body": ""}, "send() got multiple values for argument 'user_id'"),
        ((1,), {"bode": ""}, "send() got an unexpected keyword argument 'bode'. Near it: 'body'"),
        ((1,), {"ctx": None, "body": ""}, "send() got 'ctx', which no caller gives: the worker fills it"),
    ]:
        for refuse in (codec.encode, codec.bound):
            with pytest.raises(TypeError) as caught:
                refuse(args, kwargs)
            assert str(caught.value) == f"{said}."
        with pytest.raises(DecodeError) as refused:
            codec.decode(list(args), kwargs)
        assert str(refused.value).startswith(f"{said}. Was the message")


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=6,
)


@given(st.lists(HOSTILE, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "x", ""]), HOSTILE, max_size=3))
def test_hostile_messages(args: list[Any], kwargs: dict[str, Any]) -> None:
    """Whatever a message holds, decoding it gives arguments or a DecodeError, and nothing else."""

    def task(a: Person, b: Model | None = None, *rest: Positive, **more: list[tuple[UUID, Decimal]]) -> None: ...

    with suppress(DecodeError):
        ArgumentCodec(task).decode(args, kwargs)
