"""Worker processes that may be killed, on SQLite and on a Redis of the test's own that may be killed too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncq import broker_from_url
from tests.cli.programs import StartProgram, programs
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher
from tests.servers import RedisServer, StartRedis


@pytest.fixture(params=["sqlite", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which broker."""
    return request.param


@pytest.fixture
def server(kind: str, own_redis: StartRedis) -> RedisServer | None:
    """A Redis that keeps each write before it confirms it; none for SQLite."""
    return own_redis(appendonly=True) if kind == "redis" else None


@pytest.fixture
def url(server: RedisServer | None, tmp_path: Path) -> str:
    """Where the messages are."""
    return server.url if server else f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def effects(tmp_path: Path, url: str, namespace: str) -> Effects:
    """The application in its folder, and what its tasks write there."""
    return Effects(tmp_path, url, namespace)


@pytest.fixture
async def asyncq(tmp_path: Path, effects: Effects) -> AsyncIterator[StartProgram]:
    """Start `asyncq ARGUMENTS...` in that folder; what still runs is killed at the end."""
    async with programs(tmp_path) as start:
        yield start


@pytest.fixture
async def publisher(url: str, namespace: str) -> AsyncIterator[Publisher]:
    """The publisher's side."""
    async with broker_from_url(url, namespace=namespace) as broker:
        yield Publisher(broker)
