"""A cluster for tests that kill its nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from asyncq import RabbitMQBroker
from asyncq.rabbitmq.names import Names
from tests.leftovers import Running
from tests.rabbitmq_servers import RabbitMQCluster

COMMAND_TIMEOUT = 3.0


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a thread running; nodes that were started again stay."""
    before = Running.now()
    yield
    left = Running.now()._replace(processes=before.processes).left(before)
    assert not left, f"Left behind: {'; '.join(left)}"


@pytest.fixture(scope="session")
def started_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQCluster]:
    """A cluster that all tests share, which may kill its nodes."""
    with RabbitMQCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def cluster(started_cluster: RabbitMQCluster) -> AsyncIterator[RabbitMQCluster]:
    """The same, whole before and after each test. Flush its nodes before one is killed."""
    yield started_cluster
    for node in started_cluster.nodes:
        if node.is_running:
            node.resume()
        else:
            node.launch()
    for node in started_cluster.nodes:
        await asyncio.to_thread(node.wait_until_ready)


@pytest.fixture
def names(namespace: str) -> Names:
    """What things are called on the server."""
    return Names(namespace)


@pytest.fixture
async def broker(cluster: RabbitMQCluster, namespace: str) -> AsyncIterator[RabbitMQBroker]:
    """A broker without a store."""
    async with RabbitMQBroker(cluster.urls, namespace=namespace, command_timeout=COMMAND_TIMEOUT) as broker:
        yield broker
