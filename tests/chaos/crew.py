"""The processes of a run: each is started again when it ends before its time, and writes its output to a log."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
REST = 0.3
TAIL = 15
"""Lines of a log that are shown."""


class Member:
    """A process that is kept running.

    Args:
        name: of its log, and of what it tells about itself.
        arguments: of Python.
        folder: where its log is.
        variables: beside those of this process.
        may_end: whether an end with this exit code is no fault of asyncq's.
        is_endless: it is started again after exit code 0 also, until it is stopped.
        is_supervisor: its children are as good as itself.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        *,
        may_end: Callable[[int], bool],
        is_endless: bool = False,
        is_supervisor: bool = False,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.is_done = asyncio.Event()
        self.wrong_ends: list[str] = []
        self.starts = 0
        self._arguments = arguments
        self._variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        self._may_end = may_end
        self._is_endless = is_endless
        self._is_supervisor = is_supervisor
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Keep it running until it is done, or this is cancelled; then kill what is left."""
        try:
            while not self.is_done.is_set():
                code = await self._once()
                if code == 0 and not self._is_endless:
                    self.is_done.set()
                elif not self._may_end(code):
                    self.wrong_ends.append(f"{self.name} ended with {code}:\n{self.tail()}")
                if not self.is_done.is_set():
                    await asyncio.sleep(REST)  # before its successor starts
        finally:
            self.signal(signal.SIGKILL)
            if self._process:
                await self._process.wait()

    def pids(self) -> list[int]:
        """Return the process, and if it is a supervisor its children; empty while it does not run."""
        if self._process is None or self._process.returncode is not None:
            return []
        pid = self._process.pid
        return [pid, *children_of(pid)] if self._is_supervisor else [pid]

    def signal(self, number: signal.Signals, pids: Collection[int] | None = None) -> None:
        """Send a signal to these of its processes; None: all of them."""
        for pid in self.pids() if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Have it end in order, for good."""
        self.is_done.set()
        self.signal(signal.SIGTERM, self.pids()[:1])

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL:]) if self.log.exists() else ""

    async def _once(self) -> int:
        self.starts += 1
        with self.log.open("ab") as log:
            log.write(f"--- started at {time.monotonic():.3f}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._arguments),
                cwd=ROOT,
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return await self._process.wait()


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            found += map(int, children.read_text().split())
    return found
