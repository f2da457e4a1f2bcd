"""A stage on the shared server, for tests that use the conformance suites' own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from asyncq.testing.conformance.stage import Process, Stage
from tests.rabbitmq.backend import RabbitMQ


@pytest_asyncio.fixture
async def stage(rabbitmq_url: str) -> AsyncIterator[Stage]:
    """Give a stage on the shared server."""
    stage = Stage(RabbitMQ(rabbitmq_url))
    yield stage
    await stage.close()


@pytest_asyncio.fixture
async def process(stage: Stage) -> Process:
    """Give a first process."""
    return await stage.process()
