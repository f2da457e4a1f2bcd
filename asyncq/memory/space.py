"""The space: everything that is kept under one namespace, and each transition of a message."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from asyncq.errors import PublishRefused
from asyncq.memory.home import Bell
from asyncq.memory.ledger import Ledger
from asyncq.memory.letters import Letters
from asyncq.memory.line import Entry, Line, Member
from asyncq.store import Address, Place, Sighting
from asyncq.transport import (
    Again,
    Counts,
    Dead,
    DeadLetter,
    Delivery,
    Departure,
    Done,
    Envelope,
    Outcome,
    Receipt,
    Return,
    Revival,
    Revived,
    Settlement,
    Taken,
)

_NO_COUNTS = Counts(ready=0, scheduled=0, running=0, dead=0)


class Space:
    """One namespace. Its caller holds the state's lock and says what time it is: each method is one atomic step.

    Attributes:
        ledger: what is remembered of calls.
        members: the consumers, by name.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.members: dict[str, Member] = {}
        self._entries: dict[str, Entry] = {}
        self._lines: dict[str, Line] = {}
        self._deliveries = count(1)

    def publish(self, envelope: Envelope, max_length: int | None, now_ms: int) -> Receipt:
        """Add a message, unless its id is taken or its queue is full."""
        id, queue, body, priority, due_ms, _ = envelope
        if (entry := self._entries.get(id)) is not None:
            return Taken(entry.body, None)
        if (kept := self.ledger.record(id, now_ms)) is not None:
            return Taken(None, kept[1])
        line = self._line(queue)
        if max_length is not None and line.waiting >= max_length:
            return PublishRefused(f"Queue {queue!r} is full: {line.waiting} messages wait, {max_length} may.")
        entry = self._entries[id] = Entry(id, queue, body, priority)
        line.put(entry, due_ms, now_ms)
        return None

    def join(self, name: str, queues: Sequence[str], lease_ms: int, now_ms: int) -> Member:
        """Add a consumer, whose bell rings on the running loop."""
        if name in self.members:
            raise ValueError(f"A consumer's name is unique for ever; {name!r} is a member already.")
        member = self.members[name] = Member(name, tuple(queues), lease_ms, now_ms + lease_ms, Bell())
        for queue in queues:
            self._line(queue).members.add(member)
        return member

    def take(self, member: Member, limits: Mapping[str, int], limit: int, suspects: int, now_ms: int) -> list[Delivery]:
        """Lend a member what is ready in these queues."""
        deliveries: list[Delivery] = []
        for queue, queue_limit in limits.items():
            for entry in self._line(queue).take(min(queue_limit, limit - len(deliveries)), suspects, now_ms):
                suspects -= entry.is_suspect
                member.held[entry.id] = entry
                entry.token = str(next(self._deliveries))
                crashes, is_doubtful = len(entry.deaths), any(entry.deaths)
                deliveries.append(
                    Delivery(entry.id, queue, entry.body, entry.priority, entry.token, crashes, is_doubtful)
                )
        return deliveries

    def next_due_ms(self, queues: Iterable[str]) -> int | None:
        """Return when the next message of these queues becomes due; None: none is scheduled."""
        due_times = (self._line(queue).next_due_ms() for queue in queues)
        return min((due_ms for due_ms in due_times if due_ms is not None), default=None)

    def settle(self, member: Member, settlement: Settlement, dead_cap: int, now_ms: int) -> bool:
        """End a delivery, if it is still the member's, and publish what follows."""
        id, token = settlement.delivery.id, settlement.delivery.token
        entry = member.held.get(id)
        if entry is None or entry.token != token:
            return False
        del member.held[id]
        line = self._line(entry.queue)
        match settlement:
            case Done(_, outcome, then):
                self._end(entry, outcome, now_ms)
                self._follow(then, now_ms)
            case Again(_, body, due_ms):
                line.remove(entry)
                entry.body = body
                line.put(entry, due_ms, now_ms)
            case Return(_, is_crash):
                if is_crash:
                    entry.deaths += ("",)
                line.put_back(entry)
            case Dead(_, outcome, reason, letter_ttl_ms, then):
                letter = DeadLetter(id, entry.queue, entry.body, reason, settlement.letter_record, now_ms, place=0)
                line.letters.bury(letter, now_ms + letter_ttl_ms, dead_cap)
                self._end(entry, outcome, now_ms)
                self._follow(then, now_ms)
        return True

    def withdraw(self, id: str, queue: str, outcome: Outcome, now_ms: int, *, even_running: bool) -> bool:
        """End a message that is not lent to anybody; or one that is, and tell its holder."""
        entry = self._entries.get(id)
        if entry is None or entry.queue != queue or (entry.place is Place.RUNNING and not even_running):
            return False
        if entry.place is Place.RUNNING:
            self._sever(entry)
        self._end(entry, outcome, now_ms)
        return True

    def absolve(self, name: str) -> None:
        """Take back the crashes that were counted when this consumer was taken for dead."""
        for entry in self._entries.values():
            if name in entry.deaths:
                was_suspect = entry.is_suspect
                entry.deaths = tuple(each for each in entry.deaths if each != name)
                if was_suspect and not entry.is_suspect:
                    self._line(entry.queue).clear(entry)

    def dismiss(self, member: Member, *, how: Departure) -> int:
        """End a membership; what the member holds goes back to its old place. Returns how many messages."""
        if self.members.pop(member.name, None) is None:
            return 0
        for queue in member.queues:
            self._line(queue).members.discard(member)
        entries = list(member.held.values())
        member.held.clear()
        for entry in entries:
            if how is not Departure.LEFT:
                entry.deaths += (member.name if how is Departure.SILENT else "",)
            self._line(entry.queue).put_back(entry)
        member.bell.ring()  # its own waiting fetch has to learn of it
        return len(entries)

    def ring(self) -> None:
        """Let every waiting fetch look again."""
        for member in self.members.values():
            member.bell.ring()

    def look(self, id: str, watcher: Address, now_ms: int) -> Sighting | None:
        """Return what is known of a call, and watch it from now on if it has not ended."""
        entry = self._entries.get(id)
        if entry is None:
            kept = self.ledger.record(id, now_ms)
            return None if kept is None else Sighting(kept[0], record=kept[1])
        if watcher:
            self.ledger.watch(id, watcher, now_ms)
        self._line(entry.queue).promote(now_ms)
        progress = self.ledger.progress(id, now_ms)
        return Sighting(
            entry.queue, body=entry.body, place=entry.place, progress=progress, was_started=entry.crashes > 0
        )

    def report(self, id: str, progress: bytes, reply: Address, ttl_ms: int, now_ms: int) -> None:
        """Keep and tell the progress of a call, unless it has ended."""
        if id in self._entries:
            self.ledger.report(id, progress, reply, ttl_ms, now_ms)

    def counts(self, queue: str, now_ms: int) -> Counts:
        """Return how many messages of the queue stand where."""
        line = self._lines.get(queue)
        return _NO_COUNTS if line is None else line.counts(now_ms)

    def first_in_line(self, queue: str, now_ms: int) -> list[bytes]:
        """Return the bodies of those in the queue that have been ready for longest, one of each priority."""
        line = self._lines.get(queue)
        return [] if line is None else [entry.body for entry in line.first(now_ms)]

    def queues(self) -> list[str]:
        """Return the queues that were ever used, in alphabetical order."""
        return sorted(self._lines)

    def letters(self, queue: str) -> Letters:
        """Return the queue's dead letters."""
        line = self._lines.get(queue)
        return Letters() if line is None else line.letters

    def revive(self, revival: Revival, now_ms: int) -> Revived:
        """Let a dead letter run again, in place of the result that it has left."""
        letter, body, priority = revival
        letters = self.letters(letter.queue)
        if not letters.has(letter, now_ms):
            return Revived.GONE
        kept = self.ledger.record(letter.id, now_ms)
        if letter.id in self._entries or (kept is not None and kept[1] != letter.record):
            return Revived.TAKEN
        self.ledger.forget(letter.id)
        letters.drop(letter, now_ms)
        entry = self._entries[letter.id] = Entry(letter.id, letter.queue, body, priority)
        self._line(letter.queue).put(entry, 0, now_ms)
        return Revived.DONE

    def _follow(self, envelopes: Iterable[Envelope], now_ms: int) -> None:
        for envelope in envelopes:
            self.publish(envelope, None, now_ms)

    def _sever(self, entry: Entry) -> None:
        for member in self.members.values():
            if member.held.get(entry.id) is entry:
                del member.held[entry.id]
                member.severed.append(entry.token)
                member.severing.ring()

    def _end(self, entry: Entry, outcome: Outcome, now_ms: int) -> None:
        del self._entries[entry.id]
        self._line(entry.queue).remove(entry)
        self.ledger.end(entry.id, entry.queue, outcome, now_ms)

    def _line(self, queue: str) -> Line:
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = Line()
        return line
