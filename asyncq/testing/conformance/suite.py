"""The base of the conformance suites."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from asyncq.testing.conformance.backend import Backend
from asyncq.testing.conformance.stage import Process, Stage

T = TypeVar("T")


def needs(**capabilities: bool) -> Callable[[T], T]:
    """Have a test, or all tests of a suite, skipped where the transport's capabilities are not these.

    @needs(has_memory=True)
    """

    def mark(target: T) -> T:
        tests: list[Any] = [target]
        if isinstance(target, type):
            tests = [each for name, each in vars(target).items() if name.startswith("test_")]
        for test in tests:
            test.needed = getattr(test, "needed", {}) | capabilities
        return target

    return mark


class Suite:
    """The base of the suites: a subclass gives the fixture `backend`, and nothing else."""

    @pytest.fixture(autouse=True)
    def capable(self, request: pytest.FixtureRequest, backend: Backend) -> None:
        """Skip what the transport cannot do."""
        for name, value in getattr(request.function, "needed", {}).items():
            if getattr(backend.capabilities, name) != value:
                pytest.skip(f"needs a transport with {name}={value}")

    @pytest_asyncio.fixture
    async def stage(self, backend: Backend) -> AsyncIterator[Stage]:
        """Give a stage, and clear it."""
        stage = Stage(backend)
        try:
            yield stage
        finally:
            await stage.close()

    @pytest_asyncio.fixture
    async def process(self, stage: Stage) -> Process:
        """Give a first process."""
        return await stage.process()
