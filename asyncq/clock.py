"""Time as everything in asyncq sees it: a clock that tests can move."""

import time
from typing import Protocol


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
