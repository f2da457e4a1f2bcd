"""The base of the ledger's conformance suites."""

from collections.abc import AsyncIterator

import pytest_asyncio

from asyncq.testing.conformance.backend import LedgerBackend
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage


class Suite:
    """The base of the suites: a subclass gives the fixture `backend`, and nothing else."""

    @pytest_asyncio.fixture
    async def stage(self, backend: LedgerBackend) -> AsyncIterator[LedgerStage]:
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
