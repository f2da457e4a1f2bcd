"""Freezing a worker where nobody else is held up: one that is frozen inside a SQLite transaction stops all writers."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from tests.cli.programs import Program
from tests.waiting import wait_until

WRITABLE_SECONDS = 1.0
"""How long another process may have the file: what is locked longer is locked by who was frozen."""


async def freeze(worker: Program, url: str) -> None:
    """Freeze a worker (SIGSTOP), between two of its transactions."""
    while True:
        worker.signal(SIGSTOP)
        await wait_until(lambda: _is_stopped(worker.pid), "the worker is frozen")
        if not url.startswith("sqlite") or await asyncio.to_thread(_is_writable, url.removeprefix("sqlite:///")):
            return
        worker.signal(SIGCONT)
        await asyncio.sleep(0)  # it may leave the transaction


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _is_writable(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=WRITABLE_SECONDS, isolation_level=None)) as file:
        try:
            file.execute("BEGIN IMMEDIATE")
            file.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True
