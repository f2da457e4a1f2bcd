"""The line: the messages of one queue, each in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from asyncq.memory.entry import Entry
from asyncq.memory.home import Bell
from asyncq.memory.keyed import LimitKey
from asyncq.memory.lanes import Lanes
from asyncq.memory.letters import Letters
from asyncq.memory.limiter import Limiter
from asyncq.memory.ranking import Ranking
from asyncq.memory.turns import Turns
from asyncq.store import Place
from asyncq.terms import Terms
from asyncq.transport import Counts


@dataclass(slots=True, eq=False)
class Member:
    """A consumer, as others see it.

    Attributes:
        lease_ms: how long it lives without being renewed.
        ends_ms: when its lease runs out.
        bell: rung when fetching may be worth a try.
        about: what it has told of itself.
        held: what it has fetched and not settled, by id. Emptied when it is reclaimed: that is the fence.
        severed: tokens of what was withdrawn while it held it, until it is told.
        severing: rung when there are some.
    """

    name: str
    queues: Sequence[str]
    lease_ms: int
    ends_ms: int
    bell: Bell
    about: bytes = b""
    held: dict[str, Entry] = field(default_factory=dict[str, Entry])
    severed: list[str] = field(default_factory=list[str])
    severing: Bell = field(default_factory=Bell)


class Line:
    """One queue. Its caller holds the state's lock and says what time it is.

    Attributes:
        members: who consumes it.
        letters: its dead letters.
        turns: the lines of those that wait for a limit.
    """

    def __init__(self, limiter: Limiter) -> None:
        self.turns = Turns(limiter)
        self.members: set[Member] = set()
        self.letters = Letters()
        self._ready = Lanes()
        self._suspects = Ranking[Entry]()
        self._scheduled = Ranking[Entry]()
        self._running: set[Entry] = set()
        self._serials = count(1)

    @property
    def waiting(self) -> int:
        """How many messages wait to be fetched, due or not."""
        return len(self._ready) + len(self._suspects) + len(self._scheduled) + len(self.turns)

    def put(self, entry: Entry, due_ms: int, now_ms: int) -> None:
        """Add a message behind all that are ready, or let it wait for its time."""
        self.promote(now_ms)
        if due_ms > now_ms:
            entry.place = Place.SCHEDULED
            self._scheduled.add(entry, due_ms, next(self._serials))
        else:
            self._line_up(entry, now_ms)
        self._ring()

    def move(self, entry: Entry, due_ms: int, now_ms: int) -> None:
        """Let a message line up anew, or wait for another time, wherever it stands."""
        self.remove(entry)
        self.put(entry, due_ms, now_ms)

    def change_terms(self, entry: Entry, terms: Terms | None) -> None:
        """Let a call that waits need something else; it keeps its place among those who need the same."""
        is_ready = entry.place is Place.READY
        if is_ready:
            self.remove(entry)
        entry.terms = terms
        if is_ready:
            self._stand(entry)
            self._ring()

    def put_back(self, entry: Entry) -> None:
        """Return a message to its old place."""
        self._running.discard(entry)
        entry.ready_ms = 0
        self._stand(entry)
        self._ring()

    def clear(self, entry: Entry) -> None:
        """Let one that was no suspect after all stand among the others, if it is ready."""
        if entry.place is Place.READY and entry not in self.turns:
            self._suspects.discard(entry)
            self._stand(entry)
            self._ring()

    def take(self, limit: int, suspects: int, now_ms: int) -> list[Entry]:
        """Take the first messages that are ready, no more than `limit`, and no more suspects than that."""
        self.promote(now_ms)
        entries: list[Entry] = []
        apart: list[Entry] = []
        if len(self.turns):  # up to half of what is taken, where there are others
            share = -(-limit // 2) if self._ready or self._suspects else limit
            entries = self.turns.take(share, now_ms, suspects, apart)
            suspects -= sum(entry.is_suspect for entry in entries)
        while len(entries) < limit and (entry := self._pop(suspects)) is not None:
            if self.turns.admit(entry, now_ms):
                suspects -= entry.is_suspect
                entries.append(entry)
        if len(self.turns) and len(entries) < limit:
            entries += self.turns.take(limit - len(entries), now_ms, suspects, apart)
        for entry in apart:  # whoever may take one comes for it
            self._suspects.add(entry, -entry.priority, entry.serial)
        if apart:
            self._ring()
        for entry in entries:
            entry.place = Place.RUNNING
        self._running.update(entries)
        return entries

    def lend(self, entry: Entry) -> None:
        """Take this message out of the line, or let it run as if it had stood there."""
        self.remove(entry)
        entry.serial = entry.serial or next(self._serials)
        entry.place = Place.RUNNING
        self._running.add(entry)

    def leave(self, entry: Entry) -> None:
        """Let a ledger's call that is due stand where it stood before it was lent, and call nobody for it."""
        self.remove(entry)
        entry.ready_ms = 0
        self._stand(entry)

    def park(self, entry: Entry, now_ms: int, *, is_put_off: bool) -> bool:
        """Let a ledger's call stand in line unless it is granted what it needs; return whether it does.

        `is_put_off`: nobody has time for it just now.
        """
        if entry in self.turns:
            return True
        self.remove(entry)
        if entry.place is Place.SCHEDULED:
            entry.serial, entry.ready_ms = next(self._serials), now_ms
        entry.place = Place.READY
        if is_put_off:
            self.turns.wait(entry, now_ms)
            self._ring()
            return True
        if entry.is_suspect and (entry.group or (entry.terms and entry.terms.needs_grant)):
            self.turns.stand(entry, now_ms)
            return True
        return not self.turns.admit(entry, now_ms)

    def remove(self, entry: Entry) -> None:
        """Take a message out, wherever it stands."""
        match entry.place:
            case Place.RUNNING:
                self._running.discard(entry)
            case Place.SCHEDULED:
                self._scheduled.discard(entry)
            case Place.READY:
                self._ready.discard(entry)
                self._suspects.discard(entry)
                if self.turns.leave(entry):
                    self._ring()

    def promote(self, now_ms: int) -> None:
        """Let what has become due line up, in the order of the due times."""
        for entry in self._scheduled.pop_through(now_ms):
            self._line_up(entry, now_ms)

    def due_ms(self, entry: Entry) -> int | None:
        """Return when a message becomes due that is scheduled; None: it is not."""
        return self._scheduled.key_of(entry)

    def next_due_ms(self) -> int | None:
        """Return when the next message becomes due, or the next line is to be asked for; None: there is none."""
        times = (self._scheduled.first_key(), self.turns.next_ms())
        return min((due_ms for due_ms in times if due_ms is not None), default=None)

    def wake(self, of: LimitKey) -> None:
        """Have a line asked for, if there is one."""
        if self.turns.wake(of):
            self._ring()

    def wake_all(self) -> None:
        """Have all lines asked for."""
        self.turns.wake_all()
        self._ring()

    def first(self, now_ms: int) -> list[Entry]:
        """Return those that have been ready for longest, one of each priority."""
        self.promote(now_ms)
        firsts: dict[int, Entry] = {}
        for entry in (*self._ready.items(), *self._suspects.items()):
            other = firsts.setdefault(entry.priority, entry)
            if entry.serial < other.serial:
                firsts[entry.priority] = entry
        return list(firsts.values())

    def counts(self, now_ms: int) -> Counts:
        """Return how many messages stand where."""
        self.promote(now_ms)
        ready = len(self._ready) + len(self._suspects)
        return Counts(ready, len(self._scheduled), len(self._running), self.letters.count(now_ms), len(self.turns))

    def _line_up(self, entry: Entry, now_ms: int) -> None:
        entry.serial = next(self._serials)
        entry.ready_ms = now_ms
        self._stand(entry)

    def _stand(self, entry: Entry) -> None:
        entry.place = Place.READY
        if len(self.turns) and self.turns.join(entry):
            return
        if entry.is_suspect:
            self._suspects.add(entry, -entry.priority, entry.serial)
        else:
            self._ready.add(entry)

    def _pop(self, suspects: int) -> Entry | None:
        suspect = self._suspects.first() if suspects > 0 else None
        if suspect is None:
            return self._ready.pop()
        other = self._ready.first()
        if other is not None and not other.group and (-other.priority, other.serial) < suspect[:2]:
            return self._ready.pop()
        return self._suspects.pop()

    def _ring(self) -> None:
        for member in self.members:
            member.bell.ring()
