"""What runs in this process now, to compare before and after a test."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

KEPT_THREADS = ("asyncio_", "uvloop_", "AnyIO worker thread")
"""Idle threads of the loop's executor and of anyio, which end with the loop."""

KEPT_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""What multiprocessing starts once and keeps."""

JOIN_TIMEOUT = 1


class Running(NamedTuple):
    """Tasks, threads and child processes."""

    tasks: set[asyncio.Task[object]]
    threads: set[threading.Thread]
    processes: set[int]

    @classmethod
    def now(cls) -> Self:
        """Look around, from a coroutine."""
        return cls(asyncio.all_tasks(), set(threading.enumerate()), child_processes())

    def left(self, before: Self) -> list[str]:
        """Name what was not there before; the current task, and what is kept on purpose, aside."""
        tasks = self.tasks - before.tasks - {asyncio.current_task()}
        return [
            *(f"task {task!r}" for task in tasks),
            *(f"thread {thread.name}" for thread in self.threads - before.threads if not has_ended(thread)),
            *(f"process {pid}: {name}" for pid in self.processes - before.processes if (name := process_name(pid))),
        ]


def has_ended(thread: threading.Thread) -> bool:
    """Tell whether a thread is over, or about to be, or one of those that are kept."""
    if thread.name.startswith(KEPT_THREADS):
        return True
    thread.join(JOIN_TIMEOUT)
    return not thread.is_alive()


def child_processes() -> set[int]:
    """Return the ids of our children, as Linux tells them; elsewhere none."""
    found: set[int] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # the thread has ended meanwhile
            found.update(int(pid) for pid in children.read_text().split())
    return found


def process_name(pid: int) -> str:
    """Return the command of a process; empty where it is gone, or one of those that are kept."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
    return "" if any(kept in command for kept in KEPT_PROCESSES) else command or "(not waited for)"
