"""The line: the messages of one queue, each in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from asyncq.memory.home import Bell
from asyncq.memory.letters import Letters
from asyncq.memory.ranking import Ranking
from asyncq.store import Place
from asyncq.transport import SUSPECT_CRASHES, Counts, UniqueTerm


@dataclass(slots=True, eq=False)
class Entry:
    """A message that has not ended.

    Attributes:
        id, queue, body, priority: as published, or as the last attempt left them.
        place: where it stands.
        serial: its rank among equals, given when it became ready and kept until it is scheduled anew.
        token: of its latest delivery.
        deaths: for each crash, who was taken for dead while it held it; empty where that is certain.
        generation: of a ledger's call: as in `Copy`.
        is_reopened: of a ledger's call: a letter that has not run since.
        unique: the key that it has to itself, until it gives that back.
    """

    id: str
    queue: str
    body: bytes
    priority: int
    place: Place = Place.READY
    serial: int = 0
    token: str = ""
    deaths: tuple[str, ...] = ()
    generation: int = 0
    is_reopened: bool = False
    unique: UniqueTerm | None = None

    @property
    def crashes(self) -> int:
        """How often somebody died while it held it."""
        return len(self.deaths)

    @property
    def is_suspect(self) -> bool:
        """Whether it is to run without others of its kind."""
        return self.crashes >= SUSPECT_CRASHES


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
    """

    def __init__(self) -> None:
        self.members: set[Member] = set()
        self.letters = Letters()
        self._ready = Ranking[Entry]()
        self._suspects = Ranking[Entry]()
        self._scheduled = Ranking[Entry]()
        self._running: set[Entry] = set()
        self._serials = count(1)

    @property
    def waiting(self) -> int:
        """How many messages wait to be fetched, due or not."""
        return len(self._ready) + len(self._suspects) + len(self._scheduled)

    def put(self, entry: Entry, due_ms: int, now_ms: int) -> None:
        """Add a message behind all that are ready, or let it wait for its time."""
        self.promote(now_ms)
        if due_ms > now_ms:
            entry.place = Place.SCHEDULED
            self._scheduled.add(entry, due_ms, next(self._serials))
        else:
            self._line_up(entry)
        self._ring()

    def put_back(self, entry: Entry) -> None:
        """Return a message to its old place."""
        self._running.discard(entry)
        self._stand(entry)
        self._ring()

    def clear(self, entry: Entry) -> None:
        """Let one that was no suspect after all stand among the others, if it is ready."""
        if entry.place is Place.READY:
            self._suspects.discard(entry)
            self._stand(entry)
            self._ring()

    def take(self, limit: int, suspects: int, now_ms: int) -> list[Entry]:
        """Take the first messages that are ready, no more than `limit`, and no more suspects than that."""
        self.promote(now_ms)
        entries: list[Entry] = []
        while len(entries) < limit and (entry := self._pop(suspects)) is not None:
            suspects -= entry.is_suspect
            entry.place = Place.RUNNING
            entries.append(entry)
        self._running.update(entries)
        return entries

    def lend(self, entry: Entry) -> None:
        """Take this message out of the line, or let it run as if it had stood there."""
        self.remove(entry)
        entry.serial = entry.serial or next(self._serials)
        entry.place = Place.RUNNING
        self._running.add(entry)

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

    def promote(self, now_ms: int) -> None:
        """Let what has become due line up, in the order of the due times."""
        for entry in self._scheduled.pop_through(now_ms):
            self._line_up(entry)

    def due_ms(self, entry: Entry) -> int | None:
        """Return when a message becomes due that is scheduled; None: it is not."""
        return self._scheduled.key_of(entry)

    def next_due_ms(self) -> int | None:
        """Return when the next scheduled message becomes due; None: there is none."""
        return self._scheduled.first_key()

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
        return Counts(ready, len(self._scheduled), len(self._running), self.letters.count(now_ms))

    def _line_up(self, entry: Entry) -> None:
        entry.serial = next(self._serials)
        self._stand(entry)

    def _stand(self, entry: Entry) -> None:
        entry.place = Place.READY
        among = self._suspects if entry.is_suspect else self._ready
        among.add(entry, -entry.priority, entry.serial)

    def _pop(self, suspects: int) -> Entry | None:
        suspect = self._suspects.first() if suspects > 0 else None
        if suspect is None:
            return self._ready.pop()
        other = self._ready.first()
        comes_first = other is None or suspect[:2] < other[:2]
        return (self._suspects if comes_first else self._ready).pop()

    def _ring(self) -> None:
        for member in self.members:
            member.bell.ring()
