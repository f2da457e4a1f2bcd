"""The journeys run on every broker: what they show is a promise of all."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from asyncq import Broker, MemoryBroker, RabbitMQBroker, broker_from_url
from tests.working import working


class MakeBroker(Protocol):
    """Makes brokers on the same messages: each is what another process would have."""

    def __call__(self, **options: Any) -> Broker: ...


KINDS = ("memory", "sqlite", "redis")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which broker; a journey that goes on RabbitMQ as well says so: "rabbitmq" has its store in Redis."""
    return request.param


@pytest.fixture
def make_broker(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, namespace: str, redis_url: str
) -> MakeBroker:
    """Make a broker of each kind; a second one reaches the same messages, but for memory."""

    def make(**options: Any) -> Broker:
        options = {"namespace": namespace, **options}
        match kind:
            case "memory":
                return MemoryBroker(**options)
            case "sqlite":
                return broker_from_url(f"sqlite:///{tmp_path / 'asyncq.db'}", **options)
            case "rabbitmq":
                return RabbitMQBroker(request.getfixturevalue("rabbitmq_url"), store=redis_url, **options)
            case _:
                return broker_from_url(redis_url, **options)

    return make


@pytest.fixture
async def broker(make_broker: MakeBroker) -> AsyncIterator[Broker]:
    """An open broker of each kind."""
    async with make_broker() as broker:
        yield broker


@pytest.fixture
async def worker(broker: Broker) -> AsyncIterator[None]:
    """A worker beside the test. It knows the tasks that the test declares, and consumes queue "default"."""
    async with working(broker):
        yield
