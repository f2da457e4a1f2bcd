"""The worker's own count of the tasks it has run: what a drain is timed by."""

import itertools
import json
import time

from bench.peers.settings import Settings


class Tally:
    """Counts tasks in the process that runs them, and writes one small file when the expected number is reached.

    Start-up is not in it: the clock starts with the first task. The monotonic clock is the machine's, so that the
    driver can compare. Counting costs a task about 0.1 us, and threads may share it.
    """

    def __init__(self, settings: Settings) -> None:
        self._expected = settings.expected
        self._path = settings.tally
        self._numbers = itertools.count(1)  # whose steps no other thread can come between
        self._first: float | None = None
        self._cpu = 0.0
        self._lateness: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Note that a task starts."""
        if self._first is None:
            self._first = time.monotonic()
            self._cpu = time.process_time()

    def end(self) -> None:
        """Note that a task has done its work."""
        if next(self._numbers) == self._expected:
            self._write()

    def late(self, due: float) -> None:
        """Note how long after its due time, in seconds since 1970, the task that now begins was started."""
        self._lateness.append((due, time.time() - due))

    def _write(self) -> None:
        if self._path is None:
            return
        facts = {
            "first": self._first,
            "last": time.monotonic(),
            "cpu": time.process_time() - self._cpu,
            "lateness": self._lateness,
        }
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text(json.dumps(facts))
        unfinished.rename(self._path)
