"""The limiter: who holds the slots of a namespace, and what was granted when."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from asyncq.limits import GrantLog, Kind, LimitId, LimitState, Numbers
from asyncq.memory.keyed import LimitKey
from asyncq.memory.waiters import LimitWaiters
from asyncq.terms import RateTerm, SlotTerm, Terms

FAR_MS = 2**62
"""The due time of what only a freed slot, or a change, can help."""

UNKNOWN_MS = 1_000
"""After so long it is asked again for a limit whose numbers nobody has declared."""


class Lacking(NamedTuple):
    """What a call lacks.

    Attributes:
        of: the first term that is not granted.
        due_ms: when asking may help.
    """

    of: LimitKey
    due_ms: int


def keys_of(terms: Terms) -> list[LimitKey]:
    """Return what a call's terms are of, in the order in which they are asked for."""
    return [LimitKey(LimitId(_kind(term), term.name), term.key) for term in (*terms.slots, *terms.rates)]


class Limiter:
    """The limits of one namespace. Its caller holds the state's lock and says what time it is.

    Attributes:
        waiters: who waits outside of tasks.
    """

    def __init__(self) -> None:
        self.waiters = LimitWaiters()
        self._kept = 0
        self._declared: dict[LimitId, Numbers] = {}
        self._changed: dict[LimitId, Numbers] = {}
        self._logs: dict[LimitKey, GrantLog] = {}
        self._pauses: dict[tuple[LimitId, str | None], int] = {}
        self._holders: dict[LimitKey, dict[str, int]] = {}

    def declare(self, numbers: Mapping[LimitId, Numbers], *, is_consumer: bool) -> None:
        """Take note of what limits allow; who only publishes knows less than those who run."""
        self._declared = {**self._declared, **numbers} if is_consumer else {**numbers, **self._declared}

    def change(self, id: LimitId, numbers: Numbers | None) -> None:
        """Let other numbers hold; None: the declared ones."""
        if numbers is None:
            self._changed.pop(id, None)
        else:
            self._changed[id] = numbers

    def pause(self, id: LimitId, key: str | None, until_ms: int, now_ms: int) -> None:
        """Grant nothing until then, unless that is earlier than what holds; 0: end the pause."""
        self._pauses = {each: end_ms for each, end_ms in self._pauses.items() if end_ms > now_ms}
        if until_ms == 0:
            self._pauses.pop((id, key), None)
        else:
            self._pauses[id, key] = max(until_ms, self._pauses.get((id, key), 0))

    def states(self, now_ms: int) -> list[LimitState]:
        """Return all limits, by kind and name."""
        ids = sorted({*self._declared, *self._changed})
        paused = {id: self._pauses.get((id, None), 0) for id in ids}
        return [
            LimitState(id, self._declared.get(id), self._changed.get(id), paused[id] if paused[id] > now_ms else 0)
            for id in ids
        ]

    def lacking(self, terms: Terms, now_ms: int) -> Lacking | None:
        """Return what a call lacks first; None: nothing, or it has expired."""
        if terms.has_expired(now_ms):
            return None
        for of, term in zip(keys_of(terms), (*terms.slots, *terms.rates), strict=True):
            due_ms = self.due_ms(of, term.weight if isinstance(term, RateTerm) else 1, now_ms)
            if due_ms > now_ms:
                return Lacking(of, due_ms)
        return None

    def grant(self, terms: Terms, holder: str, now_ms: int) -> None:
        """Grant a call all its terms, of which it lacks none."""
        for of, term in zip(keys_of(terms), (*terms.slots, *terms.rates), strict=True):
            self.take(of, term.weight if isinstance(term, RateTerm) else 1, holder, FAR_MS, now_ms)

    def due_ms(self, of: LimitKey, weight: int, now_ms: int) -> int:
        """Return when one term may be granted; `now_ms` or earlier: now."""
        numbers = self._changed.get(of.id) or self._declared.get(of.id)
        if numbers is None:
            return now_ms + UNKNOWN_MS
        if of.id.kind is Kind.SLOTS:
            holders = self._living(of, now_ms)
            if len(holders) < numbers.limit:
                return 0
            return max(now_ms + 1, min(holders.values()))
        paused_ms = max(self._pauses.get((of.id, key), 0) for key in (None, of.key))
        log = self._logs.get(of)
        return max(paused_ms, log.due_ms(numbers, weight, now_ms) if log else 0)

    def take(self, of: LimitKey, weight: int, holder: str, until_ms: int, now_ms: int) -> None:
        """Grant one term, which may be granted."""
        if of.id.kind is Kind.SLOTS:
            self._holders.setdefault(of, {})[holder] = until_ms
            return
        self._forget_idle(now_ms)
        numbers = self._changed.get(of.id) or self._declared[of.id]
        self._logs.setdefault(of, GrantLog()).grant(numbers, min(weight, numbers.limit), now_ms)

    def renew(self, of: LimitKey, holder: str, until_ms: int, now_ms: int) -> bool:
        """Go on holding a slot; False: it was lost."""
        holders = self._living(of, now_ms)
        if holder not in holders:
            return False
        holders[holder] = until_ms
        return True

    def free(self, of: LimitKey, holder: str) -> bool:
        """Free a slot; returns whether it was held."""
        holders = self._holders.get(of)
        if holders is None or holders.pop(holder, None) is None:
            return False
        if not holders:
            del self._holders[of]
        return True

    def _living(self, of: LimitKey, now_ms: int) -> dict[str, int]:
        holders = self._holders.get(of, {})
        for holder in [each for each, until_ms in holders.items() if until_ms <= now_ms]:
            del holders[holder]
        return holders

    def _forget_idle(self, now_ms: int) -> None:
        """Now and then, drop the logs in which nothing counts any more."""
        if len(self._logs) < 2 * self._kept + 64:
            return
        for of, log in list(self._logs.items()):
            numbers = self._changed.get(of.id) or self._declared[of.id]
            if not log.used(numbers, now_ms):
                del self._logs[of]
        self._kept = len(self._logs)


def _kind(term: RateTerm | SlotTerm) -> Kind:
    return Kind.RATE if isinstance(term, RateTerm) else Kind.SLOTS


def slots_of(terms: Terms) -> Sequence[LimitKey]:
    """Return what slots a call holds while it is lent."""
    return [LimitKey(LimitId(Kind.SLOTS, term.name), term.key) for term in terms.slots]
