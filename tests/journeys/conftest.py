"""The journeys run on every broker: what they show is a promise of all."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from asyncq import Broker, MemoryBroker, broker_from_url
from tests.working import working


class MakeBroker(Protocol):
    """Makes brokers on the same messages: each is what another process would have."""

    def __call__(self, **options: Any) -> Broker: ...


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_broker(request: pytest.FixtureRequest, tmp_path: Path, namespace: str, redis_url: str) -> MakeBroker:
    """Make a broker of each kind; a second one reaches the same messages, but for memory."""

    def make(**options: Any) -> Broker:
        options = {"namespace": namespace, **options}
        if request.param == "memory":
            return MemoryBroker(**options)
        if request.param == "sqlite":
            return broker_from_url(f"sqlite:///{tmp_path / 'asyncq.db'}", **options)
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
