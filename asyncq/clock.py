"""Time as everything in asyncq sees it: a clock that tests can move."""

import time
from typing import Protocol

MAX_AHEAD_MS = 1000
"""How far a `SteadyClock` may be ahead of the server's."""


class Clock(Protocol):
    """Tells the time of day in whole milliseconds since 1970 (UTC)."""

    def now_ms(self) -> int:
        """Return the time of day."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ServerClock:
    """The clock of a server, carried on by this machine's monotonic clock.

    Machines may differ by minutes and their clocks may be set; due times, leases and expiries are all told by one
    clock, the server's. `set()` is called with what the server says at each connect.
    """

    def __init__(self) -> None:
        self._offset_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000

    def set(self, server_ms: int) -> None:
        """Take over what the server has just said."""
        self._offset_ms = server_ms - time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        return self._offset_ms + time.monotonic_ns() // 1_000_000


class SteadyClock(ServerClock):
    """The clock of a server for what is told to users: a correction does not make it run backwards.

    What the server says arrives late by the way of its reply, so that of two connects either may give the later time.
    It stands still for as long as it is ahead of the latest. Set back by MAX_AHEAD_MS or more it follows at once: that
    was somebody's doing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told_ms = 0

    def now_ms(self) -> int:
        now_ms = self._offset_ms + time.monotonic_ns() // 1_000_000  # not super(): it is asked twice for each task
        if now_ms < self._told_ms < now_ms + MAX_AHEAD_MS:
            return self._told_ms
        self._told_ms = now_ms
        return now_ms
