"""The service on every broker that several processes can share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from examples.fastapi_app.service import Service, running_service
from examples.fastapi_app.settings import Settings

LEASE = 1.0


class Place(NamedTuple):
    """Where the tasks are, and what else remembers calls."""

    broker_url: str
    store_url: str = ""


@pytest.fixture
def place(kind: str, tmp_path: Path, redis_url: str, rabbitmq_url: str) -> Place:
    """A broker of a kind: "sqlite", "redis" or "rabbitmq", and with it what remembers, "rabbitmq+redis" say."""
    urls = {"sqlite": f"sqlite:///{tmp_path / 'asyncq.db'}", "redis": redis_url, "rabbitmq": rabbitmq_url}
    return Place(*(urls[each] for each in kind.split("+")))


@pytest.fixture(params=["sqlite", "redis", "rabbitmq+redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of broker that remember calls, unless a test says otherwise."""
    return request.param


@pytest.fixture
def settings(place: Place, namespace: str, tmp_path: Path) -> Settings:
    """Settings of a service of this test alone."""
    return Settings(*place, namespace, tmp_path / "uploads", max_upload=20_000_000, keep_upload=0.2)


@pytest.fixture
async def service(settings: Settings, tmp_path: Path) -> AsyncIterator[Service]:
    """The service in its two processes."""
    with running_service(settings, tmp_path, worker_options=["--lease", str(LEASE)]) as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service."""
    async with httpx.AsyncClient(base_url=service.address, timeout=30, trust_env=False) as client:
        yield client
