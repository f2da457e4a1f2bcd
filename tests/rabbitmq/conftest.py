"""A stage on the shared server, for tests that use the conformance suites' own; a module may give another backend."""

from collections.abc import AsyncIterator

import pytest

from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import Process, Stage
from tests.rabbitmq.backend import RabbitMQ
from tests.servers import RedisServer, StartRedis


@pytest.fixture
def backend(rabbitmq_url: str) -> Backend:
    """The shared server, without a store."""
    return RabbitMQ(rabbitmq_url)


@pytest.fixture
def memory(own_redis: StartRedis) -> RedisServer:
    """A store of the test's own, for a backend that has one."""
    return own_redis()


@pytest.fixture
async def stage(backend: Backend) -> AsyncIterator[Stage]:
    """Give a stage on that backend."""
    stage = Stage(backend)
    yield stage
    await stage.close()


@pytest.fixture
async def process(stage: Stage) -> Process:
    """Give a first process."""
    return await stage.process()
