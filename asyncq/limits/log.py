"""The log: when what was granted, and when the next may be."""

from collections import deque
from collections.abc import Iterable

from asyncq.limits.numbers import Numbers

MAX_ENTRIES = 10_000
"""Above so many grants in a window an entry stands for a part of it, and counts from the end of that part."""


class GrantLog:
    """The grants of one key of a rate limit, exact: no window of `per_ms` has more than `limit`.

    Grants of one moment are one entry. A grant's true time may be 1 ms later than written, so an entry counts until
    more than `per_ms` have passed.
    """

    __slots__ = ("_entries", "_total")

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int]] = deque()
        self._total = 0

    def due_ms(self, numbers: Numbers, weight: int, now_ms: int) -> int:
        """Return when this weight may be granted: `now_ms` or earlier means now."""
        self._forget(numbers, now_ms)
        due_ms = _free_at(self._entries, self._total, numbers.limit, numbers.per_ms, weight)
        if not 0 < numbers.burst < numbers.limit:
            return due_ms
        part_ms = numbers.per_ms * numbers.burst // numbers.limit
        recent = [(at_ms, each) for at_ms, each in self._entries if at_ms + part_ms >= now_ms]
        return max(due_ms, _free_at(recent, sum(each for _, each in recent), numbers.burst, part_ms, weight))

    def grant(self, numbers: Numbers, weight: int, now_ms: int) -> None:
        """Write a grant down. Ask `due_ms` in the same step."""
        step_ms = -(-numbers.per_ms // MAX_ENTRIES) if numbers.limit > MAX_ENTRIES else 1
        at_ms = -(-now_ms // step_ms) * step_ms
        self._total += weight
        if self._entries and self._entries[-1][0] >= at_ms:
            at_ms, before = self._entries.pop()
            weight += before
        self._entries.append((at_ms, weight))

    def used(self, numbers: Numbers, now_ms: int) -> int:
        """Return the weight of the grants that count now."""
        self._forget(numbers, now_ms)
        return self._total

    def _forget(self, numbers: Numbers, now_ms: int) -> None:
        """Drop what does not count any more; what is from the future, since a clock was set back, counts as now."""
        entries = self._entries
        while entries and entries[0][0] + numbers.per_ms < now_ms:
            self._total -= entries.popleft()[1]
        if entries and entries[-1][0] > now_ms + numbers.per_ms // MAX_ENTRIES + 1:
            self._entries = deque([(now_ms, self._total)])


def _free_at(entries: Iterable[tuple[int, int]], total: int, limit: int, per_ms: int, weight: int) -> int:
    """Return when so much of what counts is gone that `weight` fits. More than the limit counts as the limit."""
    excess = total + min(weight, limit) - limit
    for at_ms, each in entries:
        if excess <= 0:
            break
        excess -= each
        if excess <= 0:
            return at_ms + per_ms + 1
    return 0
