"""The book: what a ledger keeps of one namespace beside its calls, and each transition of a call."""

from itertools import count, islice
from typing import NamedTuple

from asyncq.ledger import (
    Claimed,
    Copy,
    Held,
    Lent,
    Verdict,
    next_attempt,
    next_life,
    remembered_ms,
    without_transport,
)
from asyncq.memory.entry import Entry
from asyncq.memory.line import Member
from asyncq.memory.ranking import Ranking
from asyncq.memory.space import Space
from asyncq.store import Place
from asyncq.transport import Again, Dead, Departure, Done, Envelope, Outcome, Revival, Settlement, Taken


class Claim(NamedTuple):
    """An id that somebody is about to publish.

    Attributes:
        body: of the message.
        generation: in which it is published.
        end_ms: until when nobody else may.
    """

    body: bytes
    generation: int
    end_ms: int


class Book:
    """A ledger's namespace. Its caller holds the state's lock and says what time it is: each method is one atomic step.

    Calls stand in the lines of the space, of which nobody fetches: they are lent by their ids.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._claims: dict[str, Claim] = {}
        self._claim_ends = Ranking[str]()
        self._last_generations: dict[str, int] = {}
        self._tombstone_ends = Ranking[str]()
        self._orphans: dict[str, Entry] = {}
        self._serials = count(1)

    @property
    def members(self) -> dict[str, Member]:
        """The holders, by name."""
        return self.space.members

    def note(self, envelope: Envelope, now_ms: int) -> None:
        """Remember a message that is on its way, unless it is known or has ended."""
        id, queue, body, priority, due_ms, *_ = envelope
        if id in self.space.entries:
            return
        claim = self._claim(id, now_ms)
        is_claimed = claim is not None and claim.body == body
        if not is_claimed and self._last_generation(id, now_ms) is not None:
            return
        generation = claim.generation if claim is not None and is_claimed else 0
        self._forget_claim(id)
        self.space.add(Entry(id, queue, body, priority, generation=generation), due_ms, now_ms)

    def claim(self, envelope: Envelope, ttl_ms: int, now_ms: int) -> Taken | Claimed | int:
        """Claim an id; return the generation to publish it in, or who has it."""
        id, body = envelope.id, envelope.body
        if (entry := self.space.entries.get(id)) is not None:
            return Taken(entry.body, None)
        if (kept := self.space.records.record(id, now_ms)) is not None:
            return Taken(None, kept[1])
        claim = self._claim(id, now_ms)
        generation = next_life(self._last_generation(id, now_ms)) if claim is None else claim.generation
        claimed = body if claim is None else claim.body
        self._claims[id] = Claim(claimed, generation, now_ms + ttl_ms)
        self._claim_ends.add(id, now_ms + ttl_ms, next(self._serials))
        return generation if claimed == body else Claimed(generation, claimed)

    def strike(self, envelope: Envelope, now_ms: int) -> None:
        """Take a claim back."""
        claim = self._claim(envelope.id, now_ms)
        if claim is not None and claim.body == envelope.body:
            self._forget_claim(envelope.id)

    def lend(self, member: Member, copy: Copy, now_ms: int) -> Verdict:
        """Lend a copy that has come, unless it is held or not wanted."""
        entry = self.space.entries.get(copy.id)
        if entry is None:
            if copy.generation < next_life(self._last_generation(copy.id, now_ms)):
                return None
            self.space.records.forget(copy.id)
            entry = Entry(copy.id, copy.queue, copy.body, copy.priority, generation=copy.generation)
        elif copy.generation < entry.generation:
            return None
        elif entry.place is Place.RUNNING:
            return Held(now_ms if copy.generation > entry.generation else self._lease_end_ms(entry))
        self._forget_claim(copy.id)
        self._orphans.pop(copy.id, None)
        if copy.generation > entry.generation:
            entry.body, entry.priority, entry.generation = copy.body, copy.priority, copy.generation
        entry.is_reopened = False
        delivery = self.space.lend(member, entry)
        return Lent(delivery.token, delivery.crashes, delivery.is_doubtful)

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

    def reopen(self, revival: Revival, now_ms: int) -> int | None:
        """Let a dead call wait again; return its generation, None where the id is another call's."""
        letter, body, priority, _ = revival
        entry = self.space.entries.get(letter.id)
        if entry is not None:
            if not entry.is_reopened:
                return None
            entry.body, entry.priority = body, priority
            return entry.generation
        kept = self.space.records.record(letter.id, now_ms)
        if (kept is not None and kept[1] != letter.record) or self._claim(letter.id, now_ms) is not None:
            return None
        self.space.records.forget(letter.id)
        generation = next_life(self._last_generation(letter.id, now_ms))
        self.space.add(
            Entry(letter.id, letter.queue, body, priority, generation=generation, is_reopened=True), 0, now_ms
        )
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
        entries = islice(self._orphans.values(), limit)
        return [Copy(entry.id, entry.queue, entry.body, entry.priority, entry.generation) for entry in entries]

    def placed(self, copy: Copy) -> None:
        """Forget that a call was an orphan, unless it was sent on since."""
        entry = self._orphans.get(copy.id)
        if entry is not None and entry.generation == copy.generation:
            del self._orphans[copy.id]

    def _lease_end_ms(self, entry: Entry) -> int:
        holder = self.space.holder_of(entry)
        assert holder is not None, "what runs is held"
        return holder.ends_ms

    def _remember(self, entry: Entry, ms: int, now_ms: int) -> None:
        """Know for so long in which generation a call has ended, and for no less than its earlier lives."""
        self._last_generations[entry.id] = entry.generation
        end_ms = max(now_ms + ms, self._tombstone_ends.key_of(entry.id) or 0)
        self._tombstone_ends.add(entry.id, end_ms, next(self._serials))

    def _last_generation(self, id: str, now_ms: int) -> int | None:
        for over in self._tombstone_ends.pop_through(now_ms):
            del self._last_generations[over]
        return self._last_generations.get(id)

    def _claim(self, id: str, now_ms: int) -> Claim | None:
        for lapsed in self._claim_ends.pop_through(now_ms):
            del self._claims[lapsed]
        return self._claims.get(id)

    def _forget_claim(self, id: str) -> None:
        self._claims.pop(id, None)
        self._claim_ends.discard(id)
