"""The base of the conformance suites."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from asyncq.testing.conformance.backend import Backend
from asyncq.testing.conformance.stage import Process, Stage


class Suite:
    """The base of the suites: a subclass gives the fixture `backend`, and nothing else."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend that is tested."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `backend` that returns a Backend.")

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
