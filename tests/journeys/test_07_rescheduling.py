"""Giving a call that waits another time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from asyncq import Broker, ConfigurationError, ResultMissing, RetryPolicy, Status
from tests.journeys.conftest import KINDS
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("rabbitmq_server")


@pytest.fixture(params=[*KINDS, "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    """On RabbitMQ with a store, too."""
    return request.param


async def test_sooner_and_later(broker: Broker, worker: None) -> None:
    """A reminder is put off, and brought forward; it runs once, at its last time."""
    runs: list[int] = []

    @broker.task
    async def remind(order: int) -> int:
        runs.append(order)
        return order

    handle = await remind.options(delay=3600).kiq(17)
    assert await handle.reschedule(at=datetime.now(UTC) + timedelta(days=2))
    assert await handle.status() is Status.SCHEDULED
    assert await broker.handle(handle.id).reschedule(delay=0.1)
    assert await handle == 17
    assert runs == [17]
    assert not await handle.reschedule(delay=5)


async def test_what_is_queued(broker: Broker) -> None:
    """A call that is due already waits until its new time."""

    @broker.task
    async def work() -> None: ...

    handle = await work.kiq()
    assert await handle.reschedule(delay=60)
    assert await handle.status() is Status.SCHEDULED
    assert await handle.reschedule(delay=0)
    assert await handle.status() is Status.QUEUED


async def test_the_time_to_expire_moves_along(broker: Broker) -> None:
    """A call that may start for so long after its due time may still do so after its new one."""

    @broker.task
    async def work() -> None: ...

    handle = await work.options(delay=60, expires=0.3).kiq()
    assert await handle.reschedule(delay=0)
    assert (await handle.result(timeout=5)).status is Status.EXPIRED


async def test_a_retry(broker: Broker, worker: None) -> None:
    """What waits for its next attempt is tried at the new time, with its attempts counted."""
    attempts = 0

    @broker.task(retry=RetryPolicy(max_attempts=2, delay=3600))
    async def flaky() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("not yet")
        return attempts

    handle = await flaky.kiq()

    async def is_retrying() -> bool:
        return await handle.status() is Status.RETRYING

    await wait_until(is_retrying, "the first attempt has failed")
    assert await handle.reschedule(delay=0)
    result = await handle.result(timeout=5)
    assert (result.value, result.attempts) == (2, 2)


async def test_what_runs(broker: Broker, worker: None) -> None:
    """A call that runs is not touched."""
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.task
    async def work() -> str:
        started.set()
        await may_end.wait()
        return "done"

    handle = await work.kiq()
    await started.wait()
    assert not await handle.reschedule(delay=60)
    may_end.set()
    assert await handle == "done"


async def test_wrong_values(broker: Broker) -> None:
    """What makes no sense, and who is not there, is said."""
    handle = broker.handle("nobody")
    with pytest.raises(ResultMissing, match="'nobody' cannot be rescheduled"):
        await handle.reschedule(delay=1)
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - that it has no time zone is what is wrong
    for wrong in ({}, {"delay": 1, "at": datetime.now(UTC)}, {"delay": -1}, {"delay": True}, {"at": naive}):
        with pytest.raises(ConfigurationError):
            await handle.reschedule(**wrong)  # type: ignore[arg-type]
