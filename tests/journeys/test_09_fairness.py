"""Fairness: groups of calls take turns within a queue, and in the line of a limit."""

import asyncio
from uuid import UUID

import pytest
from msgspec.structs import replace

from asyncq import (
    Broker,
    ConcurrencyLimit,
    ConfigurationError,
    FailedCall,
    MemoryBroker,
    NotSupported,
    RabbitMQBroker,
    Reject,
    RetryPolicy,
    Status,
)
from asyncq.terms import Terms
from tests.journeys.conftest import KINDS
from tests.waiting import wait_until
from tests.working import working

pytestmark = pytest.mark.usefixtures("rabbitmq_server")

ALL = (*KINDS, "rabbitmq")
"""RabbitMQ has a store beside it, where groups take turns once a worker has brought them there."""


async def test_a_small_tenant_beside_a_large_one(broker: Broker) -> None:
    """A tenant's many calls delay another's few by no more than a turn."""
    sent: list[str] = []

    @broker.task(group=lambda customer, **_: customer)
    async def send(customer: str, number: int) -> None:
        sent.append(customer)

    await broker.kiq_many(send.message("large", n) for n in range(200))
    handles = [await send.kiq("small", n) for n in range(5)]
    async with working(broker, concurrency=1):
        await asyncio.gather(*handles)
    assert sent[:10].count("small") == 5


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_a_small_tenant_behind_a_large_one(broker: Broker) -> None:
    """On RabbitMQ with a store a busy worker brings what waits to its lanes: then it takes turns as everywhere."""
    sent: list[str] = []
    may_go_on = asyncio.Event()

    @broker.task(group=lambda customer, **_: customer)
    async def send(customer: str, number: int) -> None:
        await may_go_on.wait()
        sent.append(customer)

    async def are_in_lanes() -> bool:
        (counts,) = await broker.queue_counts()
        return counts.waiting == 203

    await broker.kiq_many(send.message("large", n) for n in range(200))
    handles = [await send.kiq("small", n) for n in range(5)]
    async with working(broker, concurrency=2):
        await wait_until(are_in_lanes, "all but what runs are in their lanes")
        may_go_on.set()
        await asyncio.gather(*handles)
    assert sent[:14].count("small") == 5


async def test_a_retry_waits_in_its_lane(broker: Broker) -> None:
    """A call that fails is tried again when its group's turn comes, with its own arguments and attempts."""
    runs: list[str] = []

    @broker.task(group=lambda customer, **_: customer, retry=RetryPolicy(delay=0))
    async def send(customer: str, number: int) -> int:
        runs.append(customer)
        if customer == "flaky" and runs.count("flaky") < 3:
            raise OSError("not yet")
        return number

    flaky = await send.kiq("flaky", 7)
    await broker.kiq_many(send.message("other", n) for n in range(50))
    async with working(broker, concurrency=1):
        result = await flaky.result(timeout=10)
    assert (result.status, result.value, result.attempts) == (Status.SUCCEEDED, 7, 3)
    assert runs.index("flaky", runs.index("flaky") + 1) < 25, "a turn comes round, if the retry is on its way for some"


async def test_a_shared_limit_goes_round(broker: Broker, worker: None) -> None:
    """Tenants that share one slot have it in turn."""
    sent: list[str] = []
    is_full = asyncio.Event()

    @broker.task(group=lambda customer, **_: customer, concurrency=ConcurrencyLimit(1))
    async def send(customer: str) -> None:
        await is_full.wait()
        sent.append(customer)

    handles = await broker.kiq_many(send.message("large") for _ in range(20))
    handles += await broker.kiq_many(send.message("small") for _ in range(3))
    is_full.set()
    await asyncio.gather(*handles)
    assert "small" not in sent[8:]


async def test_priority_counts_within_a_group_alone(broker: Broker) -> None:
    """An urgent call goes before others of its group; another group has its turn all the same."""
    sent: list[str] = []

    @broker.task(group=lambda customer, **_: customer)
    async def send(customer: str, what: str) -> None:
        sent.append(what)

    handles = [await send.kiq("a", f"a{n}") for n in range(4)]
    handles += [await send.options(priority=9).kiq("a", f"urgent{n}") for n in range(4)]
    handles += [await send.kiq("b", f"b{n}") for n in range(2)]
    async with working(broker, concurrency=1):
        await asyncio.gather(*handles)
    assert [each for each in sent if not each.startswith("b")] == [
        *(f"urgent{n}" for n in range(4)),
        *(f"a{n}" for n in range(4)),
    ]
    assert sent.index("b1") <= 3


@pytest.mark.parametrize("kind", ALL)
async def test_a_failure_handler_may_have_groups(broker: Broker, worker: None) -> None:
    """What follows a failure takes turns by its own group; so does a letter that is put back."""
    told: list[str] = []
    is_mended = False

    @broker.task(name="tell", group=lambda failed, **_: failed.labels.get("customer", ""))
    async def tell(failed: FailedCall) -> None:
        told.append(failed.labels["customer"])

    @broker.task(on_failure=tell, group=lambda customer, **_: customer)
    async def send(customer: str) -> str:
        if not is_mended:
            raise Reject("no such address")
        return customer

    handle = await send.options(labels={"customer": "a"}).kiq("a")
    assert (await handle.result(timeout=10)).status is Status.FAILED
    is_mended = True
    retried = await broker.dead.retry(handle.id)
    assert retried.ids == [handle.id]
    assert await handle == "a"
    assert told == ["a"]


@pytest.mark.parametrize("kind", ALL)
async def test_what_a_group_may_be(broker: Broker, worker: None) -> None:
    """Texts, numbers and UUIDs; an empty text is no group. Anything else is an error where the call is published."""

    @broker.task(group=lambda group, **_: UUID(int=7) if group == "uuid" else group)
    async def echo(group: str | int | None) -> str:
        return str(group)

    for group in ("a", "", 7, "uuid"):
        assert await (await echo.kiq(group)) == str(group)
    assert echo.message("").terms is not None
    with pytest.raises(TypeError, match="its group= returns a text, a number, a date or a UUID; it returned None"):
        echo.message(None)
    with pytest.raises(TypeError, match="500 characters"):
        echo.message("x" * 501)


def test_wrong_values_are_refused_where_they_are_declared() -> None:
    """A group that is no function, or that the task's arguments do not fit."""
    broker = MemoryBroker()
    with pytest.raises(ConfigurationError, match="group= is a function of the task's arguments"):
        broker.task(group="tenant")  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(ConfigurationError, match=r"group= is called with all arguments by name \(user_id, body\)"):

        @broker.task(group=lambda user_id: user_id)
        async def send(user_id: int, body: str) -> None: ...


def test_other_brokers_say_what_to_do() -> None:
    """Where queues know no groups, the declaration says so, and what there is instead."""
    with pytest.raises(NotSupported, match=r"'mail.send' with group=.*store=.*queue of their own"):

        @RabbitMQBroker().task(name="mail.send", group=lambda user_id, **_: user_id)
        async def send(user_id: int) -> None: ...


@pytest.mark.parametrize("kind", ALL)
async def test_a_limit_that_is_newer_than_a_message(broker: Broker, worker: None) -> None:
    """Calls whose publisher knew of their group, and of no limit, wait for the limit that the worker knows of."""
    running, most = 0, 0

    @broker.task(group=lambda customer, **_: customer, concurrency=ConcurrencyLimit(1))
    async def load(customer: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)  # a slot is held for so long: another that may not would start
        running -= 1

    old = [replace(load.message(customer), terms=Terms(group=customer)) for customer in "aabb"]
    await asyncio.gather(*await broker.kiq_many(old))
    assert most == 1
