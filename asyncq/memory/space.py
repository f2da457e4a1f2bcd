"""The space: everything that is kept under one namespace, and each transition of a message."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from asyncq.errors import ConfigurationError, PublishRefused
from asyncq.memory.agenda import Agenda
from asyncq.memory.entry import Entry
from asyncq.memory.home import Bell
from asyncq.memory.line import Member
from asyncq.memory.lines import Lines
from asyncq.memory.records import Records
from asyncq.memory.uniques import Uniques
from asyncq.store import Address, Place, Sighting
from asyncq.transport import (
    Again,
    Dead,
    DeadLetter,
    Delivery,
    Departure,
    Done,
    Envelope,
    KeyOwner,
    Outcome,
    Owned,
    Receipt,
    Return,
    Revival,
    Revived,
    Settlement,
    Taken,
    UniqueTerm,
)


class Space:
    """One namespace. Its caller holds the state's lock and says what time it is: each method is one atomic step.

    Attributes:
        records: what is remembered of calls.
        lines: its queues.
        members: the consumers, by name.
        entries: the messages that have not ended, by id.
        uniques: the keys that they have to themselves.
        agenda: the schedules.
    """

    def __init__(self) -> None:
        self.records = Records()
        self.lines = Lines()
        self.members: dict[str, Member] = {}
        self.entries: dict[str, Entry] = {}
        self.uniques = Uniques()
        self.agenda = Agenda()
        self._deliveries = count(1)
        self._owner = ""

    def belong_to(self, owner: str) -> None:
        """Be a transport's or a ledger's. Raises ConfigurationError when it is the other's already."""
        if self._owner not in ("", owner):
            raise ConfigurationError(f"This namespace belongs to a {self._owner}; give the {owner} another one.")
        self._owner = owner

    def publish(self, envelope: Envelope, max_length: int | None, now_ms: int) -> Receipt:
        """Add a message, unless its id is taken or its queue is full."""
        id, queue, body, priority, due_ms, _, unique, terms = envelope
        if (entry := self.entries.get(id)) is not None:
            return Taken(entry.body, None)
        if (kept := self.records.record(id, now_ms)) is not None:
            return Taken(None, kept[1])
        if unique is not None and (owner := self.uniques.owner(unique.key, now_ms)) is not None:
            self.replace(owner, envelope, now_ms)
            return Owned(owner.id, owner.queue)
        line = self.lines.line(queue)
        if max_length is not None and line.waiting >= max_length:
            return PublishRefused(f"Queue {queue!r} is full: {line.waiting} messages wait, {max_length} may.")
        self.add(Entry(id, queue, body, priority, unique=unique, terms=terms), due_ms, now_ms)
        return None

    def publish_all(
        self, envelopes: Sequence[Envelope], max_lengths: Mapping[str, int | None], now_ms: int
    ) -> PublishRefused | None:
        """Add messages of one queue, unless it has no room for all; those whose ids are taken are passed over."""
        if envelopes and (most := max_lengths.get(queue := envelopes[0].queue)) is not None:
            waiting = self.lines.line(queue).waiting
            if waiting + len(envelopes) > most:
                return PublishRefused(f"Queue {queue!r} is full: {waiting} messages wait, {most} may.")
        self._follow(envelopes, now_ms)
        return None

    def join(self, name: str, queues: Sequence[str], lease_ms: int, now_ms: int) -> Member:
        """Add a consumer, whose bell rings on the running loop."""
        if name in self.members:
            raise ValueError(f"A consumer's name is unique for ever; {name!r} is a member already.")
        member = self.members[name] = Member(name, tuple(queues), lease_ms, now_ms + lease_ms, Bell())
        for queue in queues:
            self.lines.line(queue).members.add(member)
        return member

    def take(self, member: Member, limits: Mapping[str, int], limit: int, suspects: int, now_ms: int) -> list[Delivery]:
        """Lend a member what is ready in these queues."""
        deliveries: list[Delivery] = []
        for queue, queue_limit in limits.items():
            for entry in self.lines.line(queue).take(min(queue_limit, limit - len(deliveries)), suspects, now_ms):
                suspects -= entry.is_suspect
                deliveries.append(self._lend(member, entry))
        return deliveries

    def lend(self, member: Member, entry: Entry) -> Delivery:
        """Lend a member this message, which is not lent to anybody."""
        self.entries[entry.id] = entry
        self.lines.line(entry.queue).lend(entry)
        return self._lend(member, entry)

    def add(self, entry: Entry, due_ms: int, now_ms: int) -> None:
        """Add a message whose id is free."""
        self.entries[entry.id] = entry
        if entry.unique is not None:
            self.uniques.take(entry.unique, entry.id, entry.queue, now_ms)
        self.lines.line(entry.queue).put(entry, due_ms, now_ms)

    def settle(self, member: Member, settlement: Settlement, dead_cap: int, now_ms: int) -> bool:
        """End a delivery, if it is still the member's, and publish what follows."""
        id, token = settlement.delivery.id, settlement.delivery.token
        entry = member.held.get(id)
        if entry is None or entry.token != token:
            return False
        del member.held[id]
        self.lines.free(entry)
        line = self.lines.line(entry.queue)
        match settlement:
            case Done(_, outcome, then):
                self._end(entry, outcome, now_ms)
                self._follow(then, now_ms)
            case Again(_, body, due_ms):
                entry.body = body
                line.move(entry, due_ms, now_ms)
            case Return(_, is_crash, terms):
                entry.terms = terms or entry.terms
                if is_crash:
                    entry.deaths += ("",)
                line.put_back(entry)
            case Dead(_, outcome, reason, letter_ttl_ms, then):
                letter = DeadLetter(id, entry.queue, entry.body, reason, settlement.letter_record, now_ms, place=0)
                line.letters.bury(letter, now_ms + letter_ttl_ms, dead_cap)
                self._end(entry, outcome, now_ms)
                self._follow(then, now_ms)
        return True

    def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, expires_ms: int, now_ms: int
    ) -> bool:
        """Give a message that waits as it was read another body and another time, and its terms another expiry."""
        entry = self.entries.get(id)
        if entry is None or entry.queue != queue or entry.place is Place.RUNNING or entry.body != read:
            return False
        entry.body = body
        entry.terms = entry.terms and entry.terms.expiring(expires_ms)
        self.lines.line(queue).move(entry, due_ms, now_ms)
        return True

    def replace(self, owner: KeyOwner, envelope: Envelope, now_ms: int) -> Entry | None:
        """Let the call that has a key be what another one would have been, if it waits and that one asks for it.

        Returns it; None: it stays as it is.
        """
        term, entry = envelope.unique, self.entries.get(owner.id)
        if term is None or not term.replaces or entry is None or entry.place is Place.RUNNING:
            return None
        entry.body = term.renamed(envelope.body, entry.id)
        line = self.lines.line(entry.queue)
        line.change_terms(entry, envelope.terms)
        due_ms = term.put_off(envelope.due_ms, owner.taken_ms)
        if term.moves and (due_ms > now_ms or entry.place is Place.SCHEDULED):
            line.move(entry, due_ms, now_ms)
        return entry

    def withdraw(self, id: str, queue: str, outcome: Outcome, now_ms: int, *, even_running: bool) -> bool:
        """End a message that is not lent to anybody; or one that is, and tell its holder."""
        entry = self.entries.get(id)
        if entry is None or entry.queue != queue or (entry.place is Place.RUNNING and not even_running):
            return False
        if entry.place is Place.RUNNING:
            self._sever(entry)
        self._end(entry, outcome, now_ms)
        return True

    def absolve(self, name: str) -> None:
        """Take back the crashes that were counted when this consumer was taken for dead."""
        for entry in self.entries.values():
            if name in entry.deaths:
                was_suspect = entry.is_suspect
                entry.deaths = tuple(each for each in entry.deaths if each != name)
                if was_suspect and not entry.is_suspect:
                    self.lines.line(entry.queue).clear(entry)

    def dismiss(self, member: Member, *, how: Departure) -> int:
        """End a membership; what the member holds goes back to its old place. Returns how many messages."""
        if self.members.pop(member.name, None) is None:
            return 0
        for queue in member.queues:
            self.lines.line(queue).members.discard(member)
        entries = list(member.held.values())
        member.held.clear()
        for entry in entries:
            if how is not Departure.LEFT:
                entry.deaths += (member.name if how is Departure.SILENT else "",)
            self.lines.free(entry)
            self.lines.line(entry.queue).put_back(entry)
        member.bell.ring()  # its own waiting fetch has to learn of it
        return len(entries)

    def ring(self) -> None:
        """Let every waiting fetch, and every scheduler, look again."""
        for member in self.members.values():
            member.bell.ring()
        self.agenda.ring()

    def look(self, id: str, watcher: Address, now_ms: int) -> Sighting | None:
        """Return what is known of a call, and watch it from now on if it has not ended."""
        entry = self.entries.get(id)
        if entry is None:
            kept = self.records.record(id, now_ms)
            return None if kept is None else Sighting(kept[0], record=kept[1])
        if watcher:
            self.records.watch(id, watcher, now_ms)
        self.lines.line(entry.queue).promote(now_ms)
        progress = self.records.progress(id, now_ms)
        return Sighting(
            entry.queue, body=entry.body, place=entry.place, progress=progress, was_started=entry.crashes > 0
        )

    def report(self, id: str, progress: bytes, reply: Address, ttl_ms: int, now_ms: int) -> None:
        """Keep and tell the progress of a call, unless it has ended."""
        if id in self.entries:
            self.records.report(id, progress, reply, ttl_ms, now_ms)

    def revive(self, revival: Revival, now_ms: int) -> Revived:
        """Let a dead letter run again, in place of the result that it has left."""
        letter, body, priority, unique, terms = revival
        letters = self.lines.letters(letter.queue)
        if not letters.has(letter, now_ms):
            return Revived.GONE
        kept = self.records.record(letter.id, now_ms)
        if letter.id in self.entries or (kept is not None and kept[1] != letter.record):
            return Revived.TAKEN
        owner = None if unique is None else self.uniques.owner(unique.key, now_ms)
        if owner is not None and owner.id != letter.id:
            return Revived.TAKEN
        self.records.forget(letter.id)
        letters.drop(letter, now_ms)
        self.add(Entry(letter.id, letter.queue, body, priority, unique=unique, terms=terms), 0, now_ms)
        return Revived.DONE

    def holder_of(self, entry: Entry) -> Member | None:
        """Return who was lent a message."""
        return next((member for member in self.members.values() if member.held.get(entry.id) is entry), None)

    def _lend(self, member: Member, entry: Entry) -> Delivery:
        if entry.unique is not None and entry.unique.ends_at_start:
            self._give_back(entry.unique, entry)
        member.held[entry.id] = entry
        entry.token = str(next(self._deliveries))
        crashes, is_doubtful = len(entry.deaths), any(entry.deaths)
        return Delivery(
            entry.id,
            entry.queue,
            entry.body,
            entry.priority,
            entry.token,
            crashes,
            is_doubtful,
            entry.terms is not None and entry.terms.needs_grant,
        )

    def _follow(self, envelopes: Iterable[Envelope], now_ms: int) -> None:
        for envelope in envelopes:
            self.publish(envelope, None, now_ms)

    def _sever(self, entry: Entry) -> None:
        if (member := self.holder_of(entry)) is not None:
            del member.held[entry.id]
            self.lines.free(entry)
            member.severed.append(entry.token)
            member.severing.ring()

    def _give_back(self, term: UniqueTerm, entry: Entry) -> None:
        self.uniques.give_back(term, entry.id)
        entry.unique = None

    def _end(self, entry: Entry, outcome: Outcome, now_ms: int) -> None:
        del self.entries[entry.id]
        if entry.unique is not None:
            self._give_back(entry.unique, entry)
        self.lines.line(entry.queue).remove(entry)
        self.records.end(entry.id, entry.queue, outcome, now_ms)
