"""A clock that stands still until a test moves it."""

from collections.abc import Callable

START_MS = 1_700_000_000_000
"""A Tuesday in November 2023: what a new clock shows."""


class MovableClock:
    """A clock for `MemoryState`: what becomes due by a move is due at once, without anybody waiting for real time.

    Args:
        now_ms: what it shows at first.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._listeners: list[Callable[[], None]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def move(self, seconds: float) -> None:
        """Move it on by so many seconds."""
        self.set(self._now_ms + round(seconds * 1000))

    def set(self, now_ms: int) -> None:
        """Set it to this time, and tell those who listen."""
        self._now_ms = now_ms
        for moved in self._listeners:
            moved()

    def listen(self, moved: Callable[[], None]) -> None:
        """Call back after each move, in the thread that moves it."""
        self._listeners.append(moved)
