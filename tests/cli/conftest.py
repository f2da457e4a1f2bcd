"""An application in a folder of its own, and the command line run there."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker, broker_from_url
from tests.cli.shop import STORE, write_app


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, rabbitmq_url: str) -> str:
    """Where the application has its messages: SQLite, or what `parametrize("url", ON_BOTH, indirect=True)` asks for."""
    urls = {"redis": redis_url, "rabbitmq": rabbitmq_url}
    return urls.get(_kind_of(request).removesuffix(STORE), f"sqlite:///{tmp_path}/queue.db")


@pytest.fixture
def options(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, Any]:
    """What the application says of its broker beside that: the store, where `url` is asked for with one."""
    return {"store": f"sqlite:///{tmp_path}/facts.db"} if _kind_of(request).endswith(STORE) else {}


def _kind_of(request: pytest.FixtureRequest) -> str:
    call = getattr(request.node, "callspec", None)
    return call.params.get("url", "") if call else ""


@pytest.fixture
def folder(tmp_path: Path, url: str, namespace: str, options: Mapping[str, Any]) -> Path:
    """A folder with the application `shop.py` in it."""
    write_app(tmp_path, url, namespace, **options)
    return tmp_path


@pytest.fixture
async def shop(folder: Path, url: str, namespace: str, options: Mapping[str, Any]) -> AsyncIterator[Broker]:
    """The publisher's side of the application."""
    async with broker_from_url(url, namespace=namespace, **options) as broker:
        yield broker
