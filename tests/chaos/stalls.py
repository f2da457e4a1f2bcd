"""Stalls: when a process did not get to run, because it was frozen or the machine was busy with others."""

import os
import time
from contextlib import suppress
from threading import Thread

from tests.chaos.journal import Journal

TICK = 0.1
LATE = 0.15
"""Seconds by which a tick may be late without being noted."""


def note_stalls(journal: Journal) -> None:
    """Write down each stall of this process, once it is over, as long as it lives."""
    Thread(target=_watch, args=(journal,), name="stalls", daemon=True).start()


def _watch(journal: Journal) -> None:
    while True:
        begin, used = time.monotonic(), time.process_time()
        time.sleep(TICK)  # how late it wakes is what is measured
        if time.monotonic() - begin > TICK + LATE:
            with suppress(MemoryError):  # a task beside this one has taken it all
                journal.write("stall", pid=os.getpid(), begin=begin, used=time.process_time() - used)
