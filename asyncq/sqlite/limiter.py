"""The limiter: what a transaction knows of limits while it grants calls what they need."""

from typing import Final, NamedTuple

import msgspec

from asyncq.limits import Kind, Numbers
from asyncq.sqlite.grants import Grants
from asyncq.sqlite.slots import Slots
from asyncq.sqlite.transaction import Transaction
from asyncq.terms import Terms, decode_terms

UNKNOWN_MS: Final = 1_000
"""After so long it is asked again for a limit whose numbers nobody has declared."""

_NUMBERS: Final = "SELECT ifnull(changed, declared) FROM limits WHERE space = ?1 AND limit_id = ?2"
_PAUSED: Final = "SELECT max(until_ms) FROM pauses WHERE space = ?1 AND paused IN (?2, ?3)"

_decode_numbers = msgspec.json.Decoder(Numbers).decode


class Need(NamedTuple):
    """One term of a call.

    Attributes:
        limit_key: which count of the limit.
        limit_id: the limit.
        weight: how many grants it counts for; 0: it is a slot.
    """

    limit_key: str
    limit_id: str
    weight: int


class Lacking(NamedTuple):
    """What a call lacks.

    Attributes:
        limit_key: of the first term that is not granted.
        due_ms: when asking may help.
    """

    limit_key: str
    due_ms: int


def need_of(kind: Kind, name: str, key: str, weight: int = 0) -> Need:
    """Return a term as the file knows it."""
    return Need(f"{kind} {name} {key}", f"{kind} {name}", weight)


def needs_of(terms: Terms) -> list[Need]:
    """Return what a call needs, in the order in which it is asked for."""
    return [
        *(need_of(Kind.SLOTS, term.name, term.key) for term in terms.slots),
        *(need_of(Kind.RATE, term.name, term.key, term.weight) for term in terms.rates),
    ]


class Limiter:
    """Grants what limits allow; `write` puts it down, before the transaction's end.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        now_ms: the time.
    """

    def __init__(self, transaction: Transaction, space: int, now_ms: int) -> None:
        self.now_ms = now_ms
        self._transaction = transaction
        self._space = space
        self._terms: dict[str, Terms] = {}
        self._needs: dict[Terms, list[Need]] = {}
        self._numbers: dict[str, Numbers | None] = {}
        self._grants: dict[str, Grants] = {}
        self._slots: dict[str, Slots] = {}
        self._pauses: dict[str, int] = {}

    def terms_in(self, text: str) -> Terms:
        """Return what `encode_terms` was given. Many calls of a fetch have the same."""
        terms = self._terms.get(text)
        if terms is None:
            terms = self._terms[text] = decode_terms(text)
        return terms

    def needs_of(self, terms: Terms) -> list[Need]:
        """Return what a call needs, in the order in which it is asked for."""
        needs = self._needs.get(terms)
        if needs is None:
            needs = self._needs[terms] = needs_of(terms)
        return needs

    def lacking(self, terms: Terms) -> Lacking | None:
        """Return what a call lacks first; None: nothing, or it has expired."""
        if terms.has_expired(self.now_ms):
            return None
        for need in self.needs_of(terms):
            if (due_ms := self.due_ms(need)) > self.now_ms:
                return Lacking(need.limit_key, due_ms)
        return None

    def grant(self, terms: Terms, seq: int) -> None:
        """Grant a call all its terms, of which it lacks none; one that has expired needs nothing."""
        if not terms.has_expired(self.now_ms):
            for need in self.needs_of(terms):
                self.take(need, seq, None)

    def due_ms(self, need: Need) -> int:
        """Return when one term may be granted; now or earlier: now."""
        numbers = self._numbers_of(need.limit_id)
        if numbers is None:
            return self.now_ms + UNKNOWN_MS
        if not need.weight:
            return self._slots_of(need, numbers).due_ms()
        return max(self._paused_ms(need), self._grants_of(need, numbers).due_ms(need.weight))

    def take(self, need: Need, holder: int | str, until_ms: int | None) -> None:
        """Grant one term, which may be granted, to a call or for a time to somebody outside of tasks."""
        numbers = self._numbers_of(need.limit_id)
        assert numbers is not None, "what is granted was asked for"
        if need.weight:
            self._grants_of(need, numbers).grant(need.weight)
        else:
            self._slots_of(need, numbers).grant(holder, until_ms)

    def write(self) -> None:
        """Write down what was granted."""
        for each in (*self._grants.values(), *self._slots.values()):
            each.write()

    def _numbers_of(self, limit_id: str) -> Numbers | None:
        if limit_id not in self._numbers:
            found = self._transaction.rows(_NUMBERS, (self._space, limit_id))
            self._numbers[limit_id] = _decode_numbers(found[0][0]) if found and found[0][0] else None
        return self._numbers[limit_id]

    def _paused_ms(self, need: Need) -> int:
        if need.limit_key not in self._pauses:
            found = self._transaction.rows(_PAUSED, (self._space, need.limit_id, need.limit_key))
            self._pauses[need.limit_key] = found[0][0] or 0
        return self._pauses[need.limit_key]

    def _grants_of(self, need: Need, numbers: Numbers) -> Grants:
        key = need.limit_key
        if key not in self._grants:
            self._grants[key] = Grants(self._transaction, self._space, key, numbers, self.now_ms)
        return self._grants[key]

    def _slots_of(self, need: Need, numbers: Numbers) -> Slots:
        key = need.limit_key
        if key not in self._slots:
            self._slots[key] = Slots(self._transaction, self._space, key, numbers, self.now_ms)
        return self._slots[key]
