"""The tasks that every peer runs: the same functions, in each one's own wrapping."""

import asyncio

from bench.peers.settings import Settings
from bench.peers.tally import Tally

_tally = Tally(Settings.from_environment())  # a worker has one process, and its tasks have no other place to count in


async def noop(payload: str) -> int:
    """Do nothing. It returns something, because some peers take None for no result."""
    return noop_sync(payload)


def noop_sync(payload: str) -> int:
    """Do nothing, for a peer whose tasks are plain functions."""
    _tally.begin()
    _tally.end()
    return 1


async def nap(payload: str) -> int:
    """Wait as long as a fast call to another service takes."""
    _tally.begin()
    await asyncio.sleep(0.01)
    _tally.end()
    return 1


async def echo(value: int) -> int:
    """Return what was given."""
    return value


async def late(due: float) -> int:
    """Note how late this starts; `due` in seconds since 1970."""
    return late_sync(due)


def late_sync(due: float) -> int:
    """Note how late this starts, for a peer whose tasks are plain functions."""
    _tally.late(due)
    _tally.begin()
    _tally.end()
    return 1
