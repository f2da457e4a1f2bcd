"""The service on every broker that several processes can share."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from examples.fastapi_app.service import Service, running_service
from examples.fastapi_app.settings import Settings

LEASE = 1.0


@pytest.fixture(params=["sqlite", "redis"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> str:
    """The URL of a broker of each kind."""
    return redis_url if request.param == "redis" else f"sqlite:///{tmp_path / 'asyncq.db'}"


@pytest.fixture
def settings(broker_url: str, namespace: str, tmp_path: Path) -> Settings:
    """Settings of a service of this test alone."""
    return Settings(broker_url, namespace, tmp_path / "uploads", max_upload=20_000_000, keep_upload=0.2)


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
