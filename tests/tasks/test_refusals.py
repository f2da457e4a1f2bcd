"""What is refused where it is written, before anything is sent: no worker would accept it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from asyncq import Broker, ConfigurationError, FailedCall, MemoryBroker, RetryPolicy, TaskOptions
from asyncq.message import decode_message, encode_message


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "labels",
    [
        {"a": object},
        {"a": float("nan")},
        {"a": {1, 2}},
        {"a": (1, 2)},
        {"a": datetime(2026, 1, 1, tzinfo=UTC)},
        {"a": "\udcff"},
        {"\udcff": 1},
        {1: "a"},
        {"a": 2**64},
        {"a": LOOP},
        ["a"],
    ],
    ids=repr,
)
def test_labels(labels: Any) -> None:
    """Labels that JSON cannot hold are refused by the declaration and by `options`, naming the option."""
    broker = MemoryBroker()

    async def nothing() -> None: ...

    with pytest.raises(ConfigurationError, match="labels"):
        broker.task(labels=labels)(nothing)
    with pytest.raises(ConfigurationError, match="labels"):
        broker.task(nothing).options(labels=labels)


def test_labels_are_those_of_the_call() -> None:
    """What becomes of a mapping after it was given as labels changes no call."""
    labels = {"a": [1]}

    async def nothing() -> None: ...

    task = MemoryBroker().task(nothing).options(labels=labels)
    labels["a"].append(2)
    assert task.message().labels == {"a": [1]}


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 1.5},
        {"priority": True},
        {"priority": "high"},
        {"delay": "1"},
        {"delay": float("nan")},
        {"delay": 1e300},
        {"delay": timedelta(seconds=1)},
        {"expires": Decimal("1.5")},
        {"expires": -1},
        {"timeout": Decimal("1.5")},
        {"timeout": 10**400},
        {"timeout": "1"},
        {"result_ttl": 1e300},
        {"result_ttl": True},
        {"store_result": "no"},
        {"store_result": 1},
        {"id": 17},
        {"id": "\udcff"},
        {"id": ""},
        {"at": "now"},
        {"retry": RetryPolicy(delay=1e300, max_delay=1e300)},
        {"retry": RetryPolicy(max_attempts=2.5)},  # pyright: ignore[reportArgumentType] - the very mistake
        {"retry": 5},
        {"queue": 3},
        {"retry": RetryPolicy(on=["ValueError"])},  # pyright: ignore[reportArgumentType] - the very mistake
    ],
    ids=lambda options: str(options)[:60],
)
def test_options(options: dict[str, Any]) -> None:
    """Options of a call of which no worker could make sense are refused, naming the option."""
    task = MemoryBroker().task(test_labels_are_those_of_the_call)
    [name] = options
    with pytest.raises(ConfigurationError, match=name):
        task.options(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 3_155_760_000},
        {"at": datetime.max.replace(tzinfo=UTC)},
        {"at": datetime(1900, 1, 1, tzinfo=UTC)},
        {"at": datetime.max.replace(tzinfo=UTC), "expires": 3_155_760_000.0},
        {"timeout": None, "expires": None, "retry": None, "store_result": False, "result_ttl": 0},
        {"timeout": 0, "retry": RetryPolicy(max_attempts=1, delay=0, factor=1, max_delay=0, jitter=False)},
    ],
    ids=lambda options: str(options)[:60],
)
async def test_what_is_accepted_can_be_read(broker: Broker, options: dict[str, Any]) -> None:
    """A message with options at their limits is one that a worker reads as it was meant."""

    @broker.task
    async def nothing() -> None: ...

    message = nothing.options(**options).message()
    read = decode_message(encode_message(message))
    assert (read.due_ms, read.expires_ms, read.overrides) == (message.due_ms, message.expires_ms, message.overrides)
    assert (await nothing.options(**options).kiq()).is_new


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "1"},
        {"priority": True},
        {"result_ttl": 1e300},
        {"retry": 5},
        {"local_concurrency": 1.5},
        {"store_result": 1},
    ],
    ids=str,
)
def test_declarations(options: dict[str, Any]) -> None:
    """The same is refused where a task is declared."""
    [name] = options
    with pytest.raises(ConfigurationError, match=name):
        MemoryBroker().task(**options)(test_labels_are_those_of_the_call)


def test_on_failure(broker: Broker) -> None:
    """What no failure could be told to is refused where it is named: it takes a task of the broker, by no fixed id."""

    @broker.task
    async def report(call: FailedCall) -> None: ...

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    @MemoryBroker().task
    async def elsewhere(call: FailedCall) -> None: ...

    for handler, said in (
        (report.function, "on_failure= is a task"),
        (elsewhere, "no task of this broker"),
        (add, "has to take one argument that is annotated `FailedCall`"),
        (report.options(id="one"), "has an id of its own"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            broker.task(on_failure=cast("Any", handler))(lambda: None)
    with pytest.raises(ConfigurationError, match="defaults= cannot name an on_failure"):
        MemoryBroker(defaults=TaskOptions(on_failure=report))
    broker.task(on_failure=report.options(priority=9))(lambda: None)
