"""Messages, exceptions and values that are made to break a worker: it never dies of one and never drops one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from asyncq import Broker, FailedCall, MemoryBroker, Reject, RetryPolicy, Status
from asyncq.transport import DeadLetter, Envelope
from tests.working import working

HUGE = 10**400


class Unprintable(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Incomparable:
    """A value whose `==` raises what cannot be printed."""

    def __eq__(self, other: object) -> bool:
        raise Unprintable

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class Misplaced(Exception):
    """An exception whose arguments are gone."""

    args = property(lambda self: self.gone, lambda self, value: None)  # pyright: ignore[reportAssignmentType]


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def publish(broker: Broker, id: str, fields: str) -> None:
    """Publish a message that no task of ours would."""
    session = await broker.open()
    body = f'{{"v":1,"id":"{id}","task":"fail",{fields}}}'.encode("utf-8", "surrogateescape")
    assert await session.transport.publish([Envelope(id, "default", body)]) == [None]


async def letters(broker: Broker) -> list[DeadLetter]:
    """Return the dead letters of the default queue."""
    return list(await (await broker.open()).transport.dead_letters("default"))


@pytest.mark.parametrize(
    "fields",
    [
        f'"attempt":{HUGE}',
        '"attempt":-3',
        f'"expires_ms":{HUGE}',
        f'"enqueued_ms":{10**18}',
        '"due_ms":-1',
        '"priority":1.5',
        '"priority":10',
        f'"v":{HUGE}',
        '"overrides":{"result_ttl":1e308}',
        '"overrides":{"result_ttl":-1}',
        '"overrides":{"timeout":-1}',
        '"overrides":{"timeout":1e308}',
        '"overrides":{"retry":{"max_attempts":2.5}}',
        '"overrides":{"retry":{"delay":1e308,"max_delay":1e308}}',
        '"overrides":{"retry":{"delay":1,"max_delay":' + str(HUGE) + "}}",
        '"overrides":{"retry":{"factor":[]}}',
        '"overrides":{"retry":{"jitter":"no"}}',
        '"overrides":{"retry":{"on":["Exception"],"delay":0,"max_attempts":2}}',
        '"args":' + "[" * 300 + "]" * 300,
        '"labels":{"a":' + "[" * 300 + "]" * 300 + "}",
        '"history":[{"number":1,"error":"x","started_ms":' + str(10**18) + "}]",
        '"history":[{"number":1,"error":"x","finished_ms":-1}]',
        '"history":[{"number":-1,"error":"x"}]',
        '"history":[{"number":1,"error":"x"}' + ',{"number":1,"error":"x"}' * 999 + "]",
        '"unknown":"\udcff"',
        '"\udcff":1',
    ],
    ids=lambda fields: fields[:40].encode("ascii", "replace").decode(),
)
async def test_hostile_fields(broker: Broker, fields: str) -> None:
    """Whatever is in a message, it ends in a result and a dead letter, or runs again as it was; the worker goes on."""
    runs = 0

    @broker.task(name="fail", retry=RetryPolicy(max_attempts=2, delay=0))
    async def fail(*args: Any) -> None:
        nonlocal runs
        runs += 1
        raise ValueError("boom")

    await publish(broker, "x", fields)
    async with working(broker, burst=True):
        pass
    result = await broker.handle("x").result(timeout=0)
    assert result.status is Status.FAILED
    assert [letter.id for letter in await broker.dead.list()] == ["x"]
    assert runs <= 2


@pytest.mark.parametrize("error", [Unprintable(), ValueError("\udcff"), KeyboardInterrupt()], ids=repr)
async def test_hostile_converters(broker: Broker, error: BaseException) -> None:
    """Whatever the user's own type raises at the making of an argument, the message goes to the dead letters."""

    @dataclass
    class Point:
        x: int

        def __post_init__(self) -> None:
            if self.x < 0:
                raise error

    @broker.task(name="fail")
    async def fail(point: Point) -> int:
        return point.x

    await publish(broker, "x", '"args":[{"x":-1}]')
    async with working(broker):
        assert (await broker.handle("x").result(timeout=5)).status is Status.FAILED
        assert await (await fail.kiq(Point(1))) == 1
    [letter] = await letters(broker)
    letter.reason.encode()


@pytest.mark.parametrize(
    "fields",
    [
        f'"args":[{10**30}]',
        '"args":[' + "[" * 200 + "]" * 200 + "]",
        '"args":[' + "[" * 300 + "]" * 300 + "]",
        '"args":["' + "x" * 1_000_000 + '"]',
        '"labels":{"a":' + "[" * 300 + "]" * 300 + "}",
        '"labels":{"a":' + str(10**30) + "}",
        '"kwargs":{"unknown":1}',
    ],
    ids=lambda fields: fields[:40],
)
async def test_hostile_failures(broker: Broker, fields: str) -> None:
    """Whatever is in a message that fails for good, and whether or not it could begin, `on_failure` is told."""
    told: list[FailedCall] = []

    @broker.task
    async def report(call: FailedCall) -> None:
        told.append(call)

    @broker.task(name="fail", retry=None, on_failure=report)
    async def fail(*args: Any) -> None:
        raise ValueError("boom")

    await publish(broker, "x", fields)
    async with working(broker, burst=True):
        pass
    assert [(call.id, call.task) for call in told] == [("x", "fail")]
    assert len(await letters(broker)) == 1


async def test_what_cannot_begin_keeps_no_result_either(broker: Broker) -> None:
    """Of a call with store_result=False nothing is kept beside its letter, also when its arguments can't be read."""

    @broker.task(name="fail", store_result=False)
    async def fail(number: int) -> None: ...

    await publish(broker, "x", '"kwargs":{"unknown":1}')
    async with working(broker, burst=True):
        pass
    assert await broker.handle("x").status() is Status.UNKNOWN
    [letter] = await broker.dead.list()
    assert letter.error_type == "asyncq.errors:DecodeError"


async def test_a_retry_changes_nothing_else(broker: Broker) -> None:
    """The next attempt has the same arguments, whatever numbers and depths JSON can hold."""
    seen: list[Any] = []

    @broker.task(name="fail", retry=RetryPolicy(max_attempts=2, delay=0))
    async def fail(*args: Any) -> None:
        seen.append(args)
        raise ValueError("boom")

    await publish(broker, "x", f'"args":[{10**30}, {"[" * 300 + "]" * 300}, 1.0, "\\u00e9"]')
    async with working(broker, burst=True):
        pass
    assert len(seen) == 2
    assert repr(seen[0]) == repr(seen[1])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a file name: \udcff"),
        ValueError("x" * 5_000_000),
        Unprintable(),
        Unprintable("\udcff"),
        Misplaced(),
        Reject("\udcff"),
        Reject(Unprintable()),  # pyright: ignore[reportArgumentType] - the very mistake
        ExceptionGroup("\udcff", [ValueError("\udcff")]),
        RecursionError("deep"),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(1),
        StopAsyncIteration(1),
        asyncio.CancelledError("mine"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("runs_in", ["loop", "thread"])
async def test_hostile_exceptions(broker: Broker, error: BaseException, runs_in: Any) -> None:
    """Whatever a task raises is an ordinary failure of that call: recorded, bounded in size, and the worker goes on."""

    @broker.task(runs_in=runs_in, retry=RetryPolicy(max_attempts=2, delay=0))
    def fail() -> None:
        raise error

    @broker.task
    async def fine() -> str:
        return "fine"

    async with working(broker):
        handle = await fail.kiq()
        result = await handle.result(timeout=5)
        assert await (await fine.kiq()) == "fine"
    assert result.status is Status.FAILED
    [letter] = await letters(broker)
    assert letter.record is not None
    assert len(letter.record) < broker.max_result_size
    letter.reason.encode()


@pytest.mark.parametrize(
    "value",
    [Incomparable(), [Incomparable()], Unprintable(), "\udcff"],
    ids=lambda value: type(value).__name__,
)
async def test_hostile_values(broker: Broker, value: object) -> None:
    """Whatever a task returns, a value that cannot travel fails the call and nothing else."""

    @broker.task
    async def odd() -> Any:
        return value

    @broker.task(name="typed")
    async def typed() -> Incomparable | str:
        return value  # pyright: ignore[reportReturnType] - the very mistake

    async with working(broker):
        results = [await (await task.kiq()).result(timeout=5) for task in (odd, typed)]
    assert [result.status for result in results] == [Status.FAILED] * 2
