"""An application in a folder of its own, and the command line run there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncq import Broker, SQLiteBroker
from tests.cli.programs import StartProgram, programs
from tests.cli.shop import APP


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the application `shop.py` in it."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
async def asyncq(folder: Path) -> AsyncIterator[StartProgram]:
    """Start `asyncq ARGUMENTS...` in that folder; what still runs is killed at the end."""
    async with programs(folder) as start:
        yield start


@pytest.fixture
async def shop(folder: Path) -> AsyncIterator[Broker]:
    """The publisher's side of the application."""
    async with SQLiteBroker(folder / "queue.db", namespace="shop") as broker:
        yield broker
