"""The log of one count of a rate limit, as a transaction sees it; the rules are those of `asyncq.limits.GrantLog`."""

from typing import Any, Final

from asyncq.limits import Numbers
from asyncq.limits.log import MAX_ENTRIES
from asyncq.sqlite.transaction import Transaction

_OWN: Final = "space = ?1 AND limit_key = ?2"
_LAST: Final = f"SELECT at_ms, total FROM grants WHERE {_OWN} ORDER BY at_ms DESC LIMIT 1"
_FIRST: Final = f"SELECT total - weight FROM grants WHERE {_OWN} AND at_ms >= ?3 ORDER BY at_ms LIMIT 1"
_REACHES: Final = f"SELECT at_ms FROM grants WHERE {_OWN} AND at_ms >= ?3 AND total >= ?4 ORDER BY at_ms LIMIT 1"
_FORGET: Final = f"DELETE FROM grants WHERE {_OWN} AND at_ms < ?3"
_FORGET_ALL: Final = f"DELETE FROM grants WHERE {_OWN}"
_ADD: Final = """
INSERT INTO grants(space, limit_key, at_ms, weight, total, ends_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT DO UPDATE SET weight = weight + excluded.weight, total = excluded.total, ends_ms = excluded.ends_ms
"""

_MARGIN_MS: Final = 1_000


class Grants:
    """Asks a log, and grants; what it has granted is in the file after `write`.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        limit_key: which count.
        numbers: what it allows.
        now_ms: the time.
    """

    def __init__(self, transaction: Transaction, space: int, limit_key: str, numbers: Numbers, now_ms: int) -> None:
        self._transaction = transaction
        self._own = (space, limit_key)
        self._numbers = numbers
        self._now_ms = now_ms
        self._step_ms = -(-numbers.per_ms // MAX_ENTRIES) if numbers.limit > MAX_ENTRIES else 1
        self._granted = 0
        self._windows: dict[int, tuple[int, int]] = {}
        self._last_ms, self._total = self._last()

    def due_ms(self, weight: int) -> int:
        """Return when this weight may be granted: now or earlier means now."""
        limit, per_ms, burst = self._numbers
        due_ms = self._free_at(limit, per_ms, weight)
        if not 0 < burst < limit:
            return due_ms
        return max(due_ms, self._free_at(burst, per_ms * burst // limit, weight))

    def grant(self, weight: int) -> None:
        """Grant what may be granted."""
        self._granted += min(weight, self._numbers.limit)

    def write(self) -> None:
        """Write down what was granted, and forget what does not count any more."""
        if not self._granted:
            return
        at_ms, per_ms = self._at_ms(), self._numbers.per_ms
        self._transaction.change(_FORGET, (*self._own, self._now_ms - per_ms))
        self._total += self._granted
        row = (*self._own, at_ms, self._granted, self._total, at_ms + per_ms + _MARGIN_MS)
        self._transaction.change(_ADD, row)
        self._last_ms, self._granted = at_ms, 0
        self._windows.clear()

    def _last(self) -> tuple[int, int]:
        """Return when was last granted, and all that ever was. What is from the future counts as granted now."""
        found = self._transaction.rows(_LAST, self._own)
        if not found:
            return 0, 0
        last_ms, total = found[0]
        per_ms, now_ms = self._numbers.per_ms, self._now_ms
        if last_ms <= now_ms + per_ms // MAX_ENTRIES + 1:
            return last_ms, total
        base, _ = self._window(now_ms - per_ms, total)
        self._windows.clear()
        self._transaction.change(_FORGET_ALL, self._own)
        counts = total - base
        self._transaction.change(_ADD, (*self._own, now_ms, counts, counts, now_ms + per_ms + _MARGIN_MS))
        return now_ms, counts

    def _free_at(self, limit: int, span_ms: int, weight: int) -> int:
        """Return when so much of what counts is gone that `weight` fits. More than the limit counts as the limit."""
        since_ms = self._now_ms - span_ms
        base, counts = self._window(since_ms, self._total)
        excess = counts + self._granted + min(weight, limit) - limit
        if excess <= 0:
            return 0
        if excess > counts:
            return self._at_ms() + span_ms + 1
        found: list[Any] = self._transaction.rows(_REACHES, (*self._own, since_ms, base + excess))
        return found[0][0] + span_ms + 1

    def _window(self, since_ms: int, total: int) -> tuple[int, int]:
        """Return the total before a moment, and what was granted since."""
        if since_ms not in self._windows:
            found = self._transaction.rows(_FIRST, (*self._own, since_ms))
            base = found[0][0] if found else total
            self._windows[since_ms] = base, total - base
        return self._windows[since_ms]

    def _at_ms(self) -> int:
        """Return when what is granted now counts as granted: at the end of its part of the window."""
        return max(self._last_ms, -(-self._now_ms // self._step_ms) * self._step_ms)
