"""An application in a folder of its own, and the command line run there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncq import Broker, broker_from_url
from tests.cli.programs import StartProgram, programs
from tests.cli.shop import write_app


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> str:
    """Where the application has its messages: SQLite, or what `parametrize("url", ON_BOTH, indirect=True)` asks for."""
    return redis_url if getattr(request, "param", "sqlite") == "redis" else f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def folder(tmp_path: Path, url: str, namespace: str) -> Path:
    """A folder with the application `shop.py` in it."""
    write_app(tmp_path, url, namespace)
    return tmp_path


@pytest.fixture
async def asyncq(folder: Path) -> AsyncIterator[StartProgram]:
    """Start `asyncq ARGUMENTS...` in that folder; what still runs is killed at the end."""
    async with programs(folder) as start:
        yield start


@pytest.fixture
async def shop(folder: Path, url: str, namespace: str) -> AsyncIterator[Broker]:
    """The publisher's side of the application."""
    async with broker_from_url(url, namespace=namespace) as broker:
        yield broker
