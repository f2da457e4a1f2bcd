"""Worker processes that may be killed, on SQLite, and on servers of the test's own that may be killed, too."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker, broker_from_url
from tests.promises.effects import Effects
from tests.promises.pair import Pair, Server
from tests.promises.publisher import Publisher
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import StartRedis


@pytest.fixture(params=["sqlite", "redis", "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which broker: "rabbitmq" has its store in Redis, "rabbitmq alone" has none."""
    return request.param


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """The node of all tests here."""
    with RabbitMQServer(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


@pytest.fixture
def node(shared_node: RabbitMQServer, kept_processes: set[int]) -> Iterator[RabbitMQServer]:
    """A RabbitMQ that the test may kill and pause; it takes four seconds to start, so the next one goes on with it.

    Its queues stay: where many are deleted, what dead-letters from them may end for good (3.10).
    """
    yield shared_node
    if shared_node.is_running:
        shared_node.resume()
    else:
        shared_node.restart()
    kept_processes.update(shared_node.pids)


@pytest.fixture
def server(kind: str, own_redis: StartRedis, request: pytest.FixtureRequest) -> Server | None:
    """What may be killed and paused: of RabbitMQ with its store both. None for SQLite.

    A Redis keeps each write before it confirms it.
    """
    match kind:
        case "redis":
            return own_redis(appendonly=True)
        case "rabbitmq":
            return Pair(request.getfixturevalue("node"), own_redis(appendonly=True))
        case "rabbitmq alone":
            return request.getfixturevalue("node")
        case _:
            return None


@pytest.fixture
def url(server: Server | None, tmp_path: Path) -> str:
    """Where the messages are."""
    return server.url if server else f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def options(server: Server | None) -> dict[str, Any]:
    """What else the broker is told; the heartbeat is short, as leases here are."""
    return {"store": server.store.url, "heartbeat": 2} if isinstance(server, Pair) else {}


@pytest.fixture
def effects(tmp_path: Path, url: str, namespace: str, options: dict[str, Any]) -> Effects:
    """The application in its folder, and what its tasks write there."""
    return Effects(tmp_path, url, namespace, **options)


@pytest.fixture
def folder(tmp_path: Path, effects: Effects) -> Path:
    """A folder with an application `app.py` in it: that one, where a module does not write another."""
    return tmp_path


@pytest.fixture
async def broker(url: str, namespace: str, options: dict[str, Any]) -> AsyncIterator[Broker]:
    """The publisher's side."""
    async with broker_from_url(url, namespace=namespace, **options) as broker:
        yield broker


@pytest.fixture
def publisher(broker: Broker) -> Publisher:
    """The tasks of `Effects`, as a publisher knows them."""
    return Publisher(broker)
