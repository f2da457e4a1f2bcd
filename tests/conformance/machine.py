"""The settlement state machine: what a transport holds after any series of steps, beside a model of ten lines."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncq.errors import LeaseLost
from asyncq.store import CallKey, Place, Sighting
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, QUEUE, LeaseThread, Process, Stage
from asyncq.transport import (
    SUSPECT_CRASHES,
    Again,
    Consumer,
    Counts,
    Dead,
    Delivery,
    Departure,
    Done,
    Envelope,
    Outcome,
    Return,
    Revival,
    Revived,
    Settlement,
    Taken,
)

T = TypeVar("T")

IDS = [f"call-{n}" for n in range(6)]
LEASE = 30
FAR_MS = 1_000_000_000
TTL_MS = 10 * FAR_MS

ids = st.sampled_from(IDS)
numbers = st.integers(0, 1_000)
delays_ms = st.sampled_from([0, 0, 5_000, 20_000, FAR_MS])


@dataclass
class Call:
    """A call as the model knows it.

    Attributes:
        rank: its place among those of its priority; None once it was scheduled, for then it depends on the moment.
        due_ms: not to be fetched before.
        delivery: the latest; None while nobody holds it.
        holder: whose it is. A token has to be unlike only those that the same consumer was given.
    """

    body: bytes
    priority: int
    rank: int | None
    due_ms: int
    delivery: Delivery | None = None
    holder: "Member | None" = None
    deaths: tuple[str, ...] = ()
    record: bytes | None = None

    @property
    def crashes(self) -> int:
        return len(self.deaths)


@dataclass
class Member:
    """A consumer as the model knows it, with all that it ever fetched."""

    consumer: Consumer
    lease: LeaseThread
    ends_ms: int
    history: list[Delivery]
    is_out: bool = False


class SettlementMachine(RuleBasedStateMachine):
    """Publishes, fetches, settles, crashes and withdraws at random, by right and by wrong consumers.

    A subclass gives the backend. Where time can't be moved no message becomes due, and no lease ends.
    """

    make_backend: Callable[[], Backend]
    can_move_time = False

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stage = Stage(self.make_backend())
        self.process: Process = self.run(self.stage.process())
        self.calls: dict[str, Call] = {}
        self.members: list[Member] = []
        self.ranks = count(1)
        self.bodies = count(1)
        self.deaths: list[str] = []
        for _ in range(2):
            self.join()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    def teardown(self) -> None:
        self.run(self.stage.close())
        self.runner.close()

    @rule()
    @precondition(lambda self: sum(not member.is_out for member in self.members) < 3)
    def join(self) -> None:
        consumer = self.run(self.process.consumer(lease=LEASE))
        lease = self.run(self.process.lease_of(consumer))
        self.members.append(Member(consumer, lease, self.now_ms + LEASE * 1000, []))

    @rule(id=ids, priority=st.integers(0, 2), delay_ms=delays_ms)
    def publish(self, id: str, priority: int, delay_ms: int) -> None:
        body = self.new_body()
        due_ms = self.now_ms + delay_ms if delay_ms else 0
        (receipt,) = self.run(self.process.publish(Envelope(id, QUEUE, body, priority, due_ms)))
        if (call := self.calls.get(id)) is not None:
            assert receipt == (Taken(None, call.record) if call.record is not None else Taken(call.body, None))
        else:
            assert receipt is None
            self.calls[id] = Call(body, priority, None if delay_ms else next(self.ranks), due_ms)

    @rule(member=numbers, limit=st.integers(1, 4), suspects=st.sampled_from([0, 1, 10]))
    def fetch(self, member: int, limit: int, suspects: int) -> None:
        holder = self.member(member)
        ready = sorted((call for call in self.waiting() if call.due_ms <= self.now_ms), key=lambda call: -call.priority)
        try:
            deliveries = self.run(holder.consumer.fetch(LIMITS, limit, wait=False, suspects=suspects))
        except LeaseLost:
            assert holder.is_out
            return
        self.check_fetched(holder, deliveries, ready, limit, suspects)
        for delivery in deliveries:
            call = self.calls[delivery.id]
            assert call in ready
            assert delivery[:4] == (delivery.id, QUEUE, call.body, call.priority)
            assert (delivery.crashes, delivery.is_doubtful) == (call.crashes, any(call.deaths))
            call.delivery, call.holder = delivery, holder
            holder.history.append(delivery)

    @rule(member=numbers, past=numbers, kind=st.sampled_from(["done", "forget", "again", "return", "crash", "dead"]))
    @precondition(lambda self: any(member.history for member in self.members))
    def settle(self, member: int, past: int, kind: str) -> None:
        """Settle one of the latest deliveries of anybody, by a consumer whose it may be or not."""
        settler = self.member(member)
        known = settler.history or [delivery for other in self.members for delivery in other.history]
        delivery = known[-1 - past % min(len(known), 4)]
        call = self.calls.get(delivery.id)
        is_held = call is not None and call.delivery == delivery and call.holder is settler
        settlement = self.settlement(kind, delivery, due_ms=0 if past % 2 else self.now_ms + FAR_MS)
        assert self.run(settler.consumer.settle([settlement])) == [is_held]
        if is_held and call is not None:
            self.apply(settlement, call)
            assert self.run(settler.consumer.settle([settlement])) == [False]

    @rule(id=ids, even_running=st.booleans())
    def withdraw(self, id: str, even_running: bool) -> None:
        call = self.calls.get(id)
        is_open = call is not None and call.record is None and (even_running or call.delivery is None)
        outcome = Outcome(b"withdrawn", TTL_MS)
        withdrawing = self.process.transport.withdraw(id, QUEUE, outcome, even_running=even_running)
        assert self.run(withdrawing) == is_open
        if is_open and call is not None:
            call.record, call.delivery = b"withdrawn", None

    @rule(member=numbers)
    def absolve(self, member: int) -> None:
        """Take back the crashes that were counted when a consumer was taken for dead; nothing, where it was not."""
        absolving = self.member(member)
        self.run(absolving.consumer.absolve())
        for call in self.calls.values():
            if call.record is None:
                call.deaths = tuple(name for name in call.deaths if name != absolving.consumer.name)

    @rule(id=ids, priority=st.integers(0, 2))
    def revive(self, id: str, priority: int) -> None:
        """Let a dead letter run again, where its id is free or bears the result that the death has left."""
        (letter,) = self.run(self.process.transport.find_letters(QUEUE, [id]))
        assert (letter is not None) == (id in self.deaths)
        if letter is None:
            return
        call = self.calls.get(id)
        is_free = call is None or call.record == letter.record
        body = self.new_body()
        (answer,) = self.run(self.process.transport.revive([Revival(letter, body, priority)]))
        assert answer is (Revived.DONE if is_free else Revived.TAKEN)
        if is_free:
            self.calls[id] = Call(body, priority, next(self.ranks), due_ms=0)
            self.deaths = [death for death in self.deaths if death != id]

    @rule(member=numbers)
    def leave(self, member: int) -> None:
        leaving = self.member(member)
        assert self.run(leaving.consumer.leave()) == self.lose(leaving, Departure.LEFT)

    @rule(member=numbers)
    def release(self, member: int) -> None:
        dead = self.member(member)
        assert self.run(self.process.transport.release([dead.consumer.name])) == self.lose(dead, Departure.DIED)

    @rule(member=numbers)
    def renew(self, member: int) -> None:
        renewing = self.member(member)
        assert self.run(renewing.lease.renew()) == (not renewing.is_out)
        renewing.ends_ms = self.now_ms + LEASE * 1000

    @rule(member=numbers)
    def reclaim(self, member: int) -> None:
        reclaimer = self.member(member)
        reclaimed = self.run(reclaimer.lease.reclaim())
        expected = {
            other.consumer.name: self.lose(other, Departure.SILENT)
            for other in self.members
            if other is not reclaimer and not other.is_out and other.ends_ms <= self.now_ms
        }
        assert {name: number for name, number in reclaimed.items() if number} == {
            name: number for name, number in expected.items() if number
        }

    @rule(seconds=st.integers(1, 20))
    @precondition(lambda self: self.can_move_time)
    def move_time(self, seconds: int) -> None:
        self.run(self.stage.backend.pass_time(seconds))

    @invariant()
    def counts_agree(self) -> None:
        waiting = self.waiting()
        ready = sum(call.due_ms <= self.now_ms for call in waiting)
        running = sum(call.delivery is not None for call in self.calls.values())
        expected = Counts(ready, len(waiting) - ready, running, len(set(self.deaths)))
        assert self.run(self.process.counts()) == expected

    @invariant()
    def sightings_agree(self) -> None:
        sightings = self.run(self.process.store.look([CallKey(id, QUEUE) for id in IDS]))
        assert list(sightings) == [self.expected_sighting(self.calls.get(id)) for id in IDS]

    @invariant()
    def letters_agree(self) -> None:
        letters = self.run(self.process.transport.dead_letters(QUEUE))
        newest_first = list(dict.fromkeys(reversed(self.deaths)))
        assert [letter.id for letter in letters] == newest_first

    @property
    def now_ms(self) -> int:
        return self.stage.backend.now_ms()

    def new_body(self) -> bytes:
        return f"body {next(self.bodies)}".encode()

    def member(self, number: int) -> Member:
        """Return one of the latest consumers, also of those that are out."""
        latest = self.members[-4:]
        return latest[number % len(latest)]

    def waiting(self) -> list[Call]:
        return [call for call in self.calls.values() if call.record is None and call.delivery is None]

    def expected_sighting(self, call: Call | None) -> Sighting | None:
        if call is None:
            return None
        if call.record is not None:
            return Sighting(QUEUE, record=call.record)
        if call.delivery is not None:
            place = Place.RUNNING
        else:
            place = Place.READY if call.due_ms <= self.now_ms else Place.SCHEDULED
        return Sighting(QUEUE, body=call.body, place=place, was_started=call.crashes > 0)

    def check_fetched(
        self, holder: Member, deliveries: Sequence[Delivery], ready: list[Call], limit: int, suspects: int
    ) -> None:
        """As many came as may, the largest priorities first."""
        assert not holder.is_out
        lent = [call for call in ready if call.crashes < SUSPECT_CRASHES]
        lent += [call for call in ready if call.crashes >= SUSPECT_CRASHES][:suspects]
        assert len(deliveries) == min(limit, len(lent))
        assert sum(delivery.crashes >= SUSPECT_CRASHES for delivery in deliveries) <= suspects
        if suspects == 10:
            assert [delivery.priority for delivery in deliveries] == [call.priority for call in ready[:limit]]
        self.check_order(deliveries, ready, is_whole=suspects == 10)

    def check_order(self, deliveries: Any, ready: list[Call], *, is_whole: bool) -> None:
        """Among those of one priority that were never scheduled, the ones with the lowest ranks came, in order."""
        if not is_whole:
            ready = [call for call in ready if call.crashes < SUSPECT_CRASHES]
            deliveries = [delivery for delivery in deliveries if delivery.crashes < SUSPECT_CRASHES]
        for priority in range(3):
            ranks = [self.calls[d.id].rank for d in deliveries if d.priority == priority]
            fetched = [rank for rank in ranks if rank is not None]
            known = sorted(call.rank for call in ready if call.priority == priority and call.rank is not None)
            assert fetched == known[: len(fetched)]

    def lose(self, member: Member, how: Departure) -> int:
        """Put back what a member holds, as it is out. Returns how many messages."""
        held = [call for call in self.calls.values() if call.delivery is not None and call.holder is member]
        for call in held:
            call.delivery = None
            if how is not Departure.LEFT:
                call.deaths += (member.consumer.name if how is Departure.SILENT else "",)
        member.is_out = True
        return len(held)

    def settlement(self, kind: str, delivery: Delivery, due_ms: int) -> Settlement:
        match kind:
            case "done":
                return Done(delivery, Outcome(self.new_body(), TTL_MS))
            case "forget":
                return Done(delivery, Outcome(None))
            case "again":
                return Again(delivery, self.new_body(), due_ms)
            case "return":
                return Return(delivery)
            case "crash":
                return Return(delivery, is_crash=True)
            case _:
                return Dead(delivery, Outcome(self.new_body(), TTL_MS), "It failed.", TTL_MS)

    def apply(self, settlement: Settlement, call: Call) -> None:
        """Do to the model what the settlement has done."""
        id = settlement.delivery.id
        call.delivery = None
        match settlement:
            case Done(_, outcome):
                call.record = outcome.record
            case Again(_, body, due_ms):
                call.body, call.due_ms = body, due_ms
                call.rank = None if due_ms else next(self.ranks)
            case Return(_, is_crash):
                if is_crash:
                    call.deaths += ("",)
            case Dead(_, outcome):
                call.record = outcome.record
                self.deaths.append(id)
        if isinstance(settlement, Done) and settlement.outcome.record is None:
            del self.calls[id]
