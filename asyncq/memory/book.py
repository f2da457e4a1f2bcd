"""The book: what a ledger keeps of one namespace beside its calls, and each transition of a call."""

from collections.abc import Iterable, Mapping
from itertools import islice

from asyncq.ledger import (
    AFTER_PARKING_MS,
    PUT_OFF_MS,
    WITHDRAWN_MS,
    Claimed,
    Copy,
    Held,
    Lent,
    Parked,
    Replaced,
    Suspect,
    Turns,
    Verdict,
    next_attempt,
    next_life,
    remembered_ms,
    without_transport,
)
from asyncq.memory.claims import Claim, Claims
from asyncq.memory.entry import Entry
from asyncq.memory.line import Member
from asyncq.memory.space import Space
from asyncq.memory.tombstones import Tombstones
from asyncq.store import Place
from asyncq.terms import Terms
from asyncq.transport import (
    Again,
    Dead,
    Departure,
    Done,
    Envelope,
    KeyOwner,
    Outcome,
    Owned,
    Revival,
    Settlement,
    Taken,
)


class Book:
    """A ledger's namespace. Its caller holds the state's lock and says what time it is: each method is one atomic step.

    Calls stand in the lines of the space, of which nobody fetches: they are lent by their ids.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._claims = Claims(space.uniques)
        self._tombstones = Tombstones()
        self._orphans: dict[str, Entry] = {}

    @property
    def members(self) -> dict[str, Member]:
        """The holders, by name."""
        return self.space.members

    def note(self, envelope: Envelope, now_ms: int) -> None:
        """Remember a message that is on its way, unless it is known or has ended."""
        id, queue, body, priority, due_ms, *_ = envelope
        if id in self.space.entries:
            return
        claim = self._claims.find(id, now_ms)
        is_claimed = claim is not None and claim.body == body
        if not is_claimed and self._tombstones.generation(id, now_ms) is not None:
            return
        generation = claim.generation if claim is not None and is_claimed else 0
        entry = Entry(id, queue, body, priority, generation=generation, terms=envelope.terms)
        self.space.add(entry, due_ms, now_ms)
        self._begin(entry, now_ms)
        term, uniques = envelope.unique, self.space.uniques
        if claim is None and term is not None and uniques.owner(term.key, now_ms) is None:
            uniques.take(term, id, queue, now_ms)
            entry.unique = term

    def claim(self, envelope: Envelope, ttl_ms: int, now_ms: int) -> Taken | Owned | Claimed | Replaced | int:
        """Claim an id and a key; return the generation to publish it in, or who has them."""
        id, body, term = envelope.id, envelope.body, envelope.unique
        if (entry := self.space.entries.get(id)) is not None:
            return Taken(entry.body, None)
        if (kept := self.space.records.record(id, now_ms)) is not None:
            return Taken(None, kept[1])
        claim = self._claims.find(id, now_ms)
        if claim is None:
            owner = None if term is None else self.space.uniques.owner(term.key, now_ms)
            if owner is not None:
                return self._owned(owner, envelope, ttl_ms, now_ms)
            generation = next_life(self._tombstones.generation(id, now_ms))
            claim = Claim(body, generation, 0, envelope.queue, term)
            if term is not None:
                self.space.uniques.claim(term, id, envelope.queue, now_ms, ttl_ms)
        self._claims.hold(id, claim, ttl_ms, now_ms)
        return claim.generation if claim.body == body else Claimed(claim.generation, claim.body)

    def strike(self, envelope: Envelope, now_ms: int) -> None:
        """Take a claim back."""
        self._claims.strike(envelope, now_ms)

    def take(self, member: Member, copies: Iterable[Copy], suspects: int, now_ms: int) -> list[Verdict]:
        """Lend copies that have come, unless they are held or not wanted, or have to wait for limits, or for others."""
        verdicts: list[Verdict] = []
        for copy in copies:
            asked = self._asked(copy, now_ms, is_put_off=False)
            if not isinstance(asked, Entry):
                verdicts.append(asked)
            elif asked.is_suspect and suspects <= 0:
                verdicts.append(self._leave(asked))
            else:
                suspects -= asked.is_suspect
                verdicts.append(self._lend(member, asked))
        return verdicts

    def line_up(self, copy: Copy, now_ms: int) -> Held | Parked | None:
        """Let a copy that has come wait, unless it is held, or not wanted."""
        terms = Terms() if copy.terms is None else copy.terms
        asked = self._asked(copy._replace(terms=terms), now_ms, is_put_off=True)
        assert not isinstance(asked, Entry), "what is put off is not to be lent"
        return asked

    def take_turns(self, member: Member, limits: Mapping[str, int], count: int, suspects: int, now_ms: int) -> Turns:
        """Lend calls that were parked and whose turn has come."""
        lent: list[tuple[Copy, Lent]] = []
        due_times: list[int] = []
        are_waiting = False
        for queue, limit in limits.items():
            line = self.space.lines.line(queue)
            line.promote(now_ms)
            apart: list[Entry] = []
            for entry in line.turns.take(min(limit, count - len(lent)), now_ms, suspects, apart):
                suspects -= entry.is_suspect
                lent.append((self._copy_of(entry), self._lend(member, entry)))
            for entry in apart:
                line.turns.stand(entry, now_ms + PUT_OFF_MS)
            if (due_ms := line.turns.next_ms()) is not None:
                due_times.append(due_ms)
            are_waiting = are_waiting or len(line.turns) > 0
        return Turns(lent, min(due_times, default=None), are_waiting)

    def settle(self, member: Member, settlement: Settlement, now_ms: int) -> bool:
        """End a lending, if it is still the member's."""
        entry = self.space.entries.get(settlement.delivery.id)
        if entry is None or not self.space.settle(member, without_transport(settlement), 0, now_ms):
            return False
        match settlement:
            case Done(_, outcome) | Dead(_, outcome):
                self._remember(entry, remembered_ms(outcome), now_ms)
            case Again():
                entry.generation = next_attempt(entry.generation)
            case _:
                pass
        return True

    def withdraw(self, id: str, queue: str, outcome: Outcome, now_ms: int, *, even_running: bool) -> bool:
        """End a call from outside."""
        entry = self.space.entries.get(id)
        due_ms = None if entry is None else self.space.lines.line(entry.queue).due_ms(entry)
        if entry is None or not self.space.withdraw(id, queue, outcome, now_ms, even_running=even_running):
            return False
        self._orphans.pop(id, None)
        self._remember(entry, remembered_ms(outcome, withdrawn_ms=(due_ms or now_ms) - now_ms), now_ms)
        return True

    def reschedule(
        self,
        id: str,
        queue: str,
        read: bytes,
        body: bytes,
        due_ms: int,
        priority: int,
        expires_ms: int,
        now_ms: int,
    ) -> Copy | None:
        """Give a call that waits as it was read another body and another time."""
        entry = self.space.entries.get(id)
        was_due_ms = 0 if entry is None else self._due_ms(entry)
        if entry is None or not self.space.reschedule(id, queue, read, body, due_ms, expires_ms, now_ms):
            return None
        entry.priority = priority
        return self._send_on(entry, was_due_ms, now_ms)

    def reopen(self, revival: Revival, now_ms: int) -> int | None:
        """Let a dead call wait again; return its generation, None where the id or the key is another call's."""
        letter, body, priority, term, _ = revival
        entry = self.space.entries.get(letter.id)
        if entry is not None:
            if not entry.is_reopened:
                return None
            entry.body, entry.priority, entry.is_changed = body, priority, False
            self.space.lines.line(entry.queue).move(entry, 0, now_ms)
            self._orphans.setdefault(entry.id, entry)
            return entry.generation
        kept = self.space.records.record(letter.id, now_ms)
        if (kept is not None and kept[1] != letter.record) or self._claims.find(letter.id, now_ms) is not None:
            return None
        owner = None if term is None else self.space.uniques.owner(term.key, now_ms)
        if owner is not None and owner.id != letter.id:
            return None
        self.space.records.forget(letter.id)
        generation = next_life(self._tombstones.generation(letter.id, now_ms))
        entry = Entry(letter.id, letter.queue, body, priority, generation=generation, is_reopened=True, unique=term)
        self.space.add(entry, 0, now_ms)
        self._orphans[entry.id] = entry
        return generation

    def absolve(self, name: str) -> None:
        """Take back the crashes that were counted when this holder was taken for dead."""
        self.space.absolve(name)

    def dismiss(self, member: Member, *, how: Departure) -> int:
        """End a membership; what the member holds waits, and is an orphan unless it left. Returns how many calls."""
        if how is not Departure.LEFT:
            self._orphans.update(member.held)
        return self.space.dismiss(member, how=how)

    def orphans(self, limit: int) -> list[Copy]:
        """Return the oldest orphans."""
        return list(map(self._copy_of, islice(self._orphans.values(), limit)))

    def placed(self, copy: Copy) -> None:
        """Forget that a call was an orphan, unless it was sent on since."""
        entry = self._orphans.get(copy.id)
        if entry is not None and entry.generation == copy.generation:
            del self._orphans[copy.id]

    def _owned(self, owner: KeyOwner, envelope: Envelope, ttl_ms: int, now_ms: int) -> Owned | Claimed | Replaced:
        """Say whose a key is; let that call be what this one would have been, where that is asked for."""
        owned = Owned(owner.id, owner.queue)
        if owner.id not in self.space.entries and (claim := self._claims.find(owner.id, now_ms)) is not None:
            self._claims.hold(owner.id, claim, ttl_ms, now_ms)
            return Claimed(claim.generation, claim.body, owned)
        waits = self.space.entries.get(owner.id)
        was_due_ms = 0 if waits is None else self._due_ms(waits)
        entry = self.space.replace(owner, envelope, now_ms)
        if entry is None:
            return owned
        entry.priority = envelope.priority
        return Replaced(owned, self._send_on(entry, was_due_ms, now_ms))

    def _asked(self, copy: Copy, now_ms: int, *, is_put_off: bool) -> Entry | Held | Parked | None:
        """Return the call that is to be lent now, or why none is."""
        entry = self.space.entries.get(copy.id)
        if entry is None:
            if copy.generation < next_life(self._tombstones.generation(copy.id, now_ms)):
                return None
            entry = self._begun(copy, now_ms)
        elif copy.generation < entry.generation or (
            entry.is_changed and copy.generation == entry.generation and copy.body != entry.body
        ):
            return None
        elif entry.place is Place.RUNNING:
            return Held(now_ms if copy.generation > entry.generation else self._lease_end_ms(entry))
        if copy.generation > entry.generation:
            entry.body, entry.priority, entry.generation = copy.body, copy.priority, copy.generation
            entry.is_changed = False
            self.space.lines.line(entry.queue).change_terms(entry, copy.terms)
        elif entry.terms is None and copy.terms is not None:
            self.space.lines.line(entry.queue).change_terms(entry, copy.terms)
        if entry.terms is None:
            return entry
        line = self.space.lines.line(entry.queue)
        if not line.park(entry, now_ms, is_put_off=is_put_off):
            return entry
        self._orphans.pop(entry.id, None)
        self._remember(entry, AFTER_PARKING_MS, now_ms)
        return Parked(line.turns.due_ms(entry))

    def _begun(self, copy: Copy, now_ms: int) -> Entry:
        """Return a call that nobody has heard of, or that begins a later life."""
        self.space.records.forget(copy.id)
        entry = Entry(copy.id, copy.queue, copy.body, copy.priority, generation=copy.generation, terms=copy.terms)
        if entry.terms is not None:  # it may have to wait
            self.space.add(entry, 0, now_ms)
        self._begin(entry, now_ms)
        return entry

    def _lend(self, member: Member, entry: Entry) -> Lent:
        self._orphans.pop(entry.id, None)
        entry.is_reopened = entry.is_changed = False
        delivery = self.space.lend(member, entry)
        return Lent(delivery.token, delivery.crashes, delivery.is_doubtful, delivery.has_terms)

    def _leave(self, entry: Entry) -> Suspect:
        """Let a suspect wait whose copy has come: it goes round."""
        self._orphans.pop(entry.id, None)
        self.space.lines.line(entry.queue).leave(entry)
        return Suspect(entry.crashes)

    def _begin(self, entry: Entry, now_ms: int) -> None:
        """Let a call have the key that was claimed with its id. It ends every claim of that."""
        claim = self._claims.find(entry.id, now_ms)
        self._claims.forget(entry.id)
        term = None if claim is None else claim.unique
        if term is not None and self.space.uniques.confirm(term, entry.id, entry.queue, now_ms):
            entry.unique = term

    def _send_on(self, entry: Entry, was_due_ms: int, now_ms: int) -> Copy:
        """Let what a call has become be published: until then it is an orphan. The copy before it may come late."""
        self._remember(entry, max(was_due_ms - now_ms, 0) + WITHDRAWN_MS, now_ms)
        entry.generation, entry.is_changed = next_attempt(entry.generation), True
        self._orphans.setdefault(entry.id, entry)
        return self._copy_of(entry)

    def _copy_of(self, entry: Entry) -> Copy:
        due_ms = self._due_ms(entry)
        return Copy(entry.id, entry.queue, entry.body, entry.priority, entry.generation, due_ms, entry.terms)

    def _due_ms(self, entry: Entry) -> int:
        return self.space.lines.line(entry.queue).due_ms(entry) or 0

    def _lease_end_ms(self, entry: Entry) -> int:
        holder = self.space.holder_of(entry)
        assert holder is not None, "what runs is held"
        return holder.ends_ms

    def _remember(self, entry: Entry, ms: int, now_ms: int) -> None:
        """Know for so long in which generation a call has ended."""
        self._tombstones.set(entry.id, entry.generation, now_ms + ms)
