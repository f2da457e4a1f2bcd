"""Arguments, there and back."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from asyncq.errors import ConfigurationError
from asyncq.serializers import ArgumentCodec
from tests.serializers.kinds import (
    NOW,
    OTHER_ID,
    PERSON,
    SOME_ID,
    Access,
    Address,
    Colour,
    Employee,
    Event,
    Level,
    Model,
    Name,
    Order,
    Pair,
    Person,
    Point,
    Row,
    Strict,
    Tree,
    UserId,
    Word,
    arrived,
    taking,
    there_and_back,
    travelled,
)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (UUID, SOME_ID),
        (datetime, NOW),
        (datetime, datetime(2026, 1, 1)),  # noqa: DTZ001 - naive ones come back naive
        (date, date(2026, 1, 1)),
        (time, time(8, 30)),
        (timedelta, timedelta(seconds=90)),
        (Decimal, Decimal("0.10")),
        (bytes, b"\x00\xff"),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (Word, Word.YES),
        (Access, Access.WRITE),
        (Name, Name("a")),
        (UserId, UserId(3)),
        (tuple[int, str], (1, "a")),
        (tuple[int, ...], (1, 2, 3)),
        (tuple[()], ()),
        (Point, Point(1, date(2026, 1, 1))),
        (Pair, Pair(SOME_ID, date(2026, 1, 1))),
        (set[int], {1, 2}),
        pytest.param(set[Colour], {Colour.RED, Colour.BLUE}, id="set of two"),  # whose order, as text, is by chance
        (frozenset[str], frozenset({"a"})),
        (list[UUID], [SOME_ID, OTHER_ID]),
        (Sequence[UUID], [SOME_ID]),
        (dict[str, Decimal], {"a": Decimal(1)}),
        (Mapping[str, date], {"a": date(2026, 1, 1)}),
        (dict[int, str], {1: "a"}),
        (dict[UUID, set[int]], {SOME_ID: {1}}),
        (Optional[datetime], None),  # noqa: UP045 - the older spelling works too
        (datetime | None, NOW),
        (datetime | int, 3),
        (Annotated[UUID, "an id"], SOME_ID),
        (Annotated[int, Meta(gt=0)], 3),
        (Person, PERSON),
        (Employee, Employee(*vars(PERSON).values(), boss=PERSON)),
        (list[Person], [PERSON]),
        (dict[str, Person | None], {"a": PERSON, "b": None}),
        (Model, Model(when=NOW)),
        (Strict, Strict(userId=SOME_ID, tags={"a"})),
        (list[Model], [Model(when=NOW)]),
        (dict[str, tuple[Model, ...]], {"a": (Model(when=NOW),)}),
        (Model | None, None),
        (Model | None, Model(when=NOW)),
        (Order, Order(Model(when=NOW), [Model(when=NOW, amount=Decimal(3))])),
        (Event, {"at": NOW}),
        (Row, {"name": "a", "count": 1}),
        (Tree, {"children": [{"children": []}]}),
        (Literal["a", 1], "a"),
        (list[dict[str, int | None]], [{"a": None, "b": 1}]),
        (Iterable[int], [1, 2]),
        (Callable[[], None] | None, None),
        (object, {"a": 1}),
        (None, {"a": [1, 2.5, None, True, "é", -(2**63), 2**64 - 1]}),
    ],
    ids=str,
)
def test_there_and_back(annotation: Any, value: object) -> None:
    """What is sent by annotation arrives equal, and of its own type."""
    received = there_and_back(annotation, value)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "form"),
    [
        (datetime, datetime(2026, 11, 21, 8, tzinfo=UTC), "2026-11-21T08:00:00Z"),
        (
            datetime,
            datetime(2026, 11, 21, 9, microsecond=500_000, tzinfo=ZoneInfo("Europe/Prague")),
            "2026-11-21T09:00:00.500000+01:00",
        ),
        (datetime, datetime(2026, 11, 21, 8), "2026-11-21T08:00:00"),  # noqa: DTZ001 - naive ones have no offset
        (date, date(2026, 11, 21), "2026-11-21"),
        (time, time(8, 30), "08:30:00"),
        (timedelta, timedelta(seconds=90), "PT90S"),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal, Decimal("1.50"), "1.50"),
        (bytes, b"\x00\xff", "AP8="),
        (Colour, Colour.RED, "red"),
        (Level, Level.HIGH, 3),
        (tuple[int, ...], (1, 2), [1, 2]),
        (Point, Point(1, date(2026, 11, 21)), [1, "2026-11-21"]),
        (set[int], {16, 8}, [8, 16]),
        (dict[int, str], {1: "a"}, {"1": "a"}),
        (dict[UUID, int], {UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
        (Address, Address("Main St", date(2026, 11, 21)), {"street": "Main St", "since": "2026-11-21"}),
        (Name, Name("a"), "a"),
        (
            Strict,
            Strict(userId=UUID(int=1), tags={"a"}),
            {"userId": "00000000-0000-0000-0000-000000000001", "tags": ["a"]},
        ),
    ],
    ids=str,
)
def test_how_it_travels(annotation: Any, value: object, form: object) -> None:
    """Each kind has the JSON that docs/arguments.md promises to other languages."""
    assert ArgumentCodec(taking(annotation)).encode((value,), {})[0] == [form]


@pytest.mark.parametrize(
    ("annotation", "value", "kind"),
    [
        (None, Word.YES, str),
        (None, Level.HIGH, int),
        (None, Name("a"), str),
        (None, [Name("a"), Word.YES, Level.HIGH], list),
        (dict[str, int], defaultdict(int, a=1), dict),
        (None, OrderedDict(a=OrderedDict()), dict),
        (dict[str, date], OrderedDict(a=NOW.date()), dict),
        (Decimal, 3, Decimal),
        (Word, "yes", Word),
    ],
    ids=str,
)
def test_equals_of_another_type(annotation: Any, value: object, kind: type) -> None:
    """What equals its base arrives as the base, or as what the annotation says."""
    received = there_and_back(annotation, value)
    assert received == value
    assert type(received) is kind


def test_every_hour_of_the_year() -> None:
    """A time in the hour that is repeated when summer time ends arrives as the same instant, also inside others."""
    late = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Prague"), fold=1)
    assert there_and_back(datetime, late).astimezone(UTC) == late.astimezone(UTC)
    assert there_and_back(list[Model], [Model(when=late)])[0].when.astimezone(UTC) == late.astimezone(UTC)
    assert there_and_back(Event, {"at": late})["at"].astimezone(UTC) == late.astimezone(UTC)

    @dataclass
    class Meeting:
        at: datetime

    assert there_and_back(tuple[Meeting], (Meeting(late),))[0].at.astimezone(UTC) == late.astimezone(UTC)


def test_plain_arguments_are_not_touched() -> None:
    """Plain arguments are passed on as the objects they are."""

    def task(a: int, b: str = "", **rest: float) -> None: ...

    codec = ArgumentCodec(task)
    args, kwargs = (1, "é"), {"c": 0.5}
    assert codec.is_plain
    assert codec.encode(args, kwargs)[0] is args
    assert codec.encode(args, kwargs)[1] is kwargs
    assert not ArgumentCodec(taking(UUID)).is_plain


def test_what_is_sent_is_what_was_checked() -> None:
    """A list or dict that the caller changes after the call changes nothing of the message."""
    rows = [1]
    sent, _ = ArgumentCodec(taking()).encode(([rows],), {})
    rows.append(2)
    assert sent == [[[1]]]


def test_sets_are_sent_in_order() -> None:
    """One set is one message, whatever order this process keeps it in."""
    codec = ArgumentCodec(taking(dict[str, set[int] | None]))
    one, other = {8, 16, 24}, {24, 16, 8}
    assert codec.encode(({"a": one},), {})[0] == codec.encode(({"a": other},), {})[0] == [{"a": [8, 16, 24]}]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=8,
)
SCALARS = (
    st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.binary()
    | st.floats()
    | st.integers()
    | st.decimals(allow_nan=None)
    | st.text(st.characters())
    | st.sampled_from([Colour.RED, Level.HIGH, Word.YES, Name("a"), Access.READ, object(), PERSON, Model(when=NOW)])
)
ANYTHING = st.recursive(
    JSON | SCALARS,
    lambda inside: (
        st.tuples(inside, inside)
        | st.lists(inside, max_size=3)
        | st.dictionaries(st.integers() | st.text(), inside, max_size=2)
    ),
    max_leaves=5,
)
ANNOTATIONS = st.sampled_from(
    [
        *(None, Any, int, str, float, list[int], list[Any], "Nowhere"),
        *(UUID, datetime, Decimal, bytes, Colour, Person, Model, datetime | int | None),
        *(tuple[Any, Any], list[Decimal], dict[int, Any], dict[str, datetime]),
    ]
)


@given(JSON)
def test_everything_json_can_hold(value: object) -> None:
    """Whatever JSON can hold arrives equal."""
    assert there_and_back(None, value) == value
    assert there_and_back(tuple[Any, ...], (value,)) == (value,)


@given(ANNOTATIONS, ANYTHING)
def test_equal_or_refused(annotation: Any, value: object) -> None:
    """Whatever is passed for whatever annotation either arrives equal or is refused."""
    try:
        received = there_and_back(annotation, value)
    except TypeError:
        return
    assert received == value or received.astimezone(UTC) == value.astimezone(UTC)  # pyright: ignore[reportAttributeAccessIssue] - or it fails


@given(st.sampled_from([Decimal, UUID, datetime, bytes, tuple[float, ...], Colour]).flatmap(st.from_type))
def test_rich_values(value: object) -> None:
    """Every finite value of a rich kind arrives equal by its annotation."""
    kind = tuple[float, ...] if isinstance(value, tuple) else type(value)
    try:
        received = there_and_back(kind, value)
    except TypeError:
        assert "nan" in repr(value).lower() or "inf" in repr(value).lower()
    else:
        assert received == value


def test_many_of_one_annotation() -> None:
    """The annotation of *args and **kwargs holds for each of them, whatever their names."""

    def task(first: UUID, /, *args: Decimal, last: int = 0, **kwargs: datetime) -> None: ...

    id = uuid4()
    names: dict[str, Any] = {"first": NOW, "args": NOW, "kwargs": NOW, "é": NOW, "last": 3}
    assert arrived(ArgumentCodec(task), id, Decimal(1), Decimal(2), **names) == ([id, Decimal(1), Decimal(2)], names)


def test_names_that_are_no_plain_str() -> None:
    """Names for **kwargs may be of a subclass of str, as Python allows."""

    def task(**kwargs: int) -> None: ...

    assert arrived(ArgumentCodec(task), **{Word.YES: 1, Name("a"): 2}) == ([], {"yes": 1, "a": 2})


def test_annotations_as_text() -> None:
    """Annotations may be written as text; one that is there for type checkers alone counts as none, the others hold."""

    def task(a: "OnlyForCheckers", b: "UUID", c: "OnlyForCheckers | None" = None) -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    id = uuid4()
    assert arrived(ArgumentCodec(task), 1, id) == ([1, id], {})


def test_a_default_of_none_may_be_passed() -> None:
    """Where the default is None, None may be passed, though the annotation does not say so."""

    def task(when: datetime = None) -> None: ...  # pyright: ignore[reportArgumentType] # noqa: RUF013 - on purpose

    assert arrived(ArgumentCodec(task), None) == ([None], {})
    assert arrived(ArgumentCodec(task), when=NOW) == ([], {"when": NOW})


def test_injected_parameters() -> None:
    """A parameter that the worker fills by name stays free, wherever it stands, and the arguments as they were."""
    seen: list[Any] = []

    def middle(a: int, ctx: object = None, b: UUID | None = None, *, c: int = 0) -> None:
        seen.append((a, ctx, b, c))

    def last(a: int, *rest: int, ctx: object = None) -> None:
        seen.append((a, rest, ctx))

    id = uuid4()
    calls: list[tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]] = [
        (middle, (1, id), {"c": 2}),
        (middle, (1,), {"b": id}),
        (last, (1, 2, 3), {}),
    ]
    for function, args, kwargs in calls:
        codec = ArgumentCodec(function, injected=["ctx"])
        received = travelled(*codec.encode(args, kwargs))
        call, names = codec.decode(*received)
        names["ctx"] = "context"
        function(*call, **names)
        assert "ctx" not in received[1]
    assert seen == [(1, "context", id, 2), (1, "context", id, 0), (1, (2, 3), "context")]


def test_parameters_that_cannot_be_injected() -> None:
    """A parameter that cannot be filled by name without shifting others is refused at declaration."""

    def only(ctx: object = None, /) -> None: ...
    def before(ctx: object = None, *rest: int) -> None: ...

    for function in (only, before):
        with pytest.raises(ConfigurationError, match=rf"{function.__name__}\(\): the worker fills 'ctx'.*keyword-only"):
            ArgumentCodec(function, injected=["ctx"])


def test_plain_annotations_are_no_validation() -> None:
    """What JSON holds may be passed for a plain annotation, whatever it says: the type checker's task, not ours."""
    assert there_and_back(int, "text") == "text"
    assert there_and_back(list[int], {"a": 1}) == {"a": 1}
