"""The waiters: code outside of tasks that stands in line for a limit."""

from collections.abc import Callable

from asyncq.memory.home import Bell
from asyncq.memory.keyed import LimitKey


class LimitWaiters:
    """Who waits for which count of a limit, first come, first served. Its caller holds the state's lock."""

    def __init__(self) -> None:
        self._lines: dict[LimitKey, dict[str, int]] = {}
        self._bells: dict[str, Bell] = {}

    def is_first(self, of: LimitKey, waiter: str, until_ms: int, now_ms: int) -> bool:
        """Keep a place, or take the last; return whether it is the first. Who has not kept its own loses it."""
        line = self._lines.setdefault(of, {})
        for gone in [each for each, end_ms in line.items() if end_ms <= now_ms and each != waiter]:
            self._forget(of, gone)
        line = self._lines.setdefault(of, line)
        line[waiter] = until_ms
        return next(iter(line)) == waiter

    def leave(self, of: LimitKey, waiter: str) -> bool:
        """Give a place up, and call who is first by that; return whether there was one."""
        was_there = waiter in self._lines.get(of, {})
        self._forget(of, waiter)
        self.call(of)
        return was_there

    def call(self, of: LimitKey) -> None:
        """Call who is first."""
        for first in self._lines.get(of, {}):
            if first in self._bells:
                self._bells[first].ring()
            return

    def call_all(self) -> None:
        """Call who is first in each line."""
        for of in self._lines:
            self.call(of)

    def listen(self, waiter: str, make: Callable[[], Bell]) -> None:
        """Have a bell for somebody who waits, on the running loop."""
        if waiter not in self._bells:
            self._bells[waiter] = make()

    def bell(self, waiter: str) -> Bell | None:
        """Return the bell of somebody who waits."""
        return self._bells.get(waiter)

    def _forget(self, of: LimitKey, waiter: str) -> None:
        line = self._lines.get(of, {})
        line.pop(waiter, None)
        self._bells.pop(waiter, None)
        if not line:
            self._lines.pop(of, None)
