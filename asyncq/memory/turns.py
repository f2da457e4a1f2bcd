"""The turns: the lines of one queue in which calls wait for what limits grant."""

from itertools import count
from typing import Final

from asyncq.limits import Kind, LimitId
from asyncq.memory.entry import Entry
from asyncq.memory.keyed import LimitKey
from asyncq.memory.lanes import Lanes
from asyncq.memory.limiter import FAR_MS, Lacking, Limiter, keys_of
from asyncq.memory.ranking import Ranking
from asyncq.terms import Terms

OWN: Final = LimitKey(LimitId(Kind.SLOTS, ""), "")
"""What the line of a ledger's queue itself is of, in which a turn is always there."""


class Turns:
    """A line for each count of a limit, in order of priority and then of becoming ready. Each has a time of its own.

    In a line groups take turns, as they do in the queue. A ledger, whose queues are elsewhere, has one line more: that
    of the queue itself (`OWN`).

    Args:
        limiter: of the namespace.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._lines: dict[LimitKey, Lanes] = {}
        self._times = Ranking[LimitKey]()
        self._stands: dict[Entry, LimitKey] = {}
        self._serials = count(1)

    def __len__(self) -> int:
        return len(self._stands)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._stands

    def next_ms(self) -> int | None:
        """Return when the next line is to be asked for; None: nothing but a call can help."""
        due_ms = self._times.first_key()
        return None if due_ms is None or due_ms >= FAR_MS else due_ms

    def admit(self, entry: Entry, now_ms: int) -> bool:
        """Grant a call that comes what it needs, or let it stand in line: also where others do who were first."""
        if entry.terms is None:
            return True
        if self.join(entry):
            return False
        lacking = self._limiter.lacking(entry.terms, now_ms)
        if lacking is not None:
            self._stand(entry, lacking.of, lacking.due_ms)
            return False
        self._grant(entry, entry.terms, now_ms)
        return True

    def join(self, entry: Entry) -> bool:
        """Let a call stand behind those who wait for one of its terms, or with its group; False: nobody does."""
        if entry.terms is None:
            return False
        of = OWN if entry.group and OWN in self._lines else self._line_of_one(entry.terms)
        if of is not None:
            self._stand(entry, of, FAR_MS)
        return of is not None

    def wait(self, entry: Entry, now_ms: int) -> None:
        """Let a ledger's call wait for nothing but somebody who has time."""
        self._stand(entry, OWN, now_ms)
        self._time(OWN, now_ms)

    def stand(self, entry: Entry, due_ms: int) -> None:
        """Let a call stand in line that is not asked for now; a line that is new is asked for at that time."""
        if entry.terms is not None and not self.join(entry):
            self._stand(entry, next(iter(keys_of(entry.terms)), OWN), due_ms)

    def due_ms(self, entry: Entry) -> int | None:
        """Return when the line is asked for in which a call stands; None: nothing but a call can help."""
        due_ms = self.next_of(self._stands[entry])
        return None if due_ms >= FAR_MS else due_ms

    def take(self, limit: int, now_ms: int, suspects: int, apart: list[Entry]) -> list[Entry]:
        """Take the heads of lines whose time has come, which take turns, no more than so many.

        A suspect whose turn it is, and that may not be taken here, leaves its line and is added to `apart`.
        """
        taken: list[Entry] = []
        while len(taken) < limit and (due_ms := self._times.first_key()) is not None and due_ms <= now_ms:
            first = self._times.first()
            assert first is not None, "it has a key"
            of = first[2]
            entry = self._head(of)
            assert entry.terms is not None, "who stands in line has terms"
            if entry.is_suspect and suspects <= 0:
                self._time(of, now_ms)
                self.discard(entry)
                apart.append(entry)
                continue
            behind = self._line_of_one(entry.terms) if of == OWN else None
            lacking = Lacking(behind, FAR_MS) if behind else self._limiter.lacking(entry.terms, now_ms)
            if lacking is None:
                self._grant(entry, entry.terms, now_ms)
                self._time(of, now_ms)
                self._lines[of].serve(entry)
                self.discard(entry)
                suspects -= entry.is_suspect
                taken.append(entry)
            elif lacking.of == of:
                self._time(of, lacking.due_ms)
            else:
                self._time(of, now_ms)
                self._lines[of].serve(entry)
                self.discard(entry)
                self._stand(entry, lacking.of, lacking.due_ms)
        return taken

    def discard(self, entry: Entry) -> None:
        """Let a call leave its line, if it stands in one."""
        of = self._stands.pop(entry, None)
        if of is None:
            return
        line = self._lines[of]
        line.discard(entry)
        if not line:
            del self._lines[of]
            self._times.discard(of)

    def leave(self, entry: Entry) -> bool:
        """Let a call leave that ends or goes elsewhere. Returns whether another is to be asked for.

        Whoever is first by that may need less than the one that was.
        """
        of = self._stands.get(entry)
        was_first = of is not None and self._head(of) is entry
        self.discard(entry)
        if of is None or not was_first or of not in self._lines or self.next_of(of) >= FAR_MS:
            return False
        self._time(of, 0)
        return True

    def wake(self, of: LimitKey) -> bool:
        """Have a line asked for: a slot is free. Returns whether there is one."""
        if of not in self._lines:
            return False
        self._time(of, 0)
        return True

    def wake_all(self) -> None:
        """Have all lines asked for: limits have changed."""
        for of in self._lines:
            self._time(of, 0)

    def _line_of_one(self, terms: Terms) -> LimitKey | None:
        return next((of for of in keys_of(terms) if of in self._lines), None)

    def _grant(self, entry: Entry, terms: Terms, now_ms: int) -> None:
        if not terms.has_expired(now_ms):
            self._limiter.grant(terms, entry.id, now_ms)
        entry.terms = terms.once_lent()  # also without a grant: what was in a dead consumer's hands does not expire

    def _stand(self, entry: Entry, of: LimitKey, due_ms: int) -> None:
        line = self._lines.get(of)
        is_new = line is None
        if line is None:
            line = self._lines[of] = Lanes()
        line.add(entry)
        self._stands[entry] = of
        if is_new:
            self._time(of, due_ms)
        elif self._head(of) is entry and self.next_of(of) < FAR_MS:
            self._time(of, 0)  # its weight may be another than that of who was first

    def next_of(self, of: LimitKey) -> int:
        """Return the time of a line."""
        return self._times.key_of(of) or 0

    def _head(self, of: LimitKey) -> Entry:
        first = self._lines[of].first()
        assert first is not None, "an empty line goes"
        return first

    def _time(self, of: LimitKey, due_ms: int) -> None:
        self._times.add(of, due_ms, next(self._serials))
