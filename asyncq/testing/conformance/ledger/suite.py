"""The base of the ledger's conformance suites."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from asyncq.testing.conformance.backend import Backend
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage


class Suite:
    """The base of the suites: a subclass gives the fixture `backend`, and nothing else."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend that is tested."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `backend` that returns a Backend.")

    @pytest_asyncio.fixture
    async def stage(self, backend: Backend) -> AsyncIterator[LedgerStage]:
        """Give a stage, and clear it."""
        stage = LedgerStage(backend)
        try:
            yield stage
        finally:
            await stage.close()

    @pytest_asyncio.fixture
    async def process(self, stage: LedgerStage) -> LedgerProcess:
        """Give a first process."""
        return await stage.another()
