"""The machine of limits: what a transport lends of calls that need slots and turns, after any series of steps."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, QUEUE, Process, Stage
from asyncq.transport import SUSPECT_CRASHES, Again, Consumer, Counts, Dead, Delivery, Done, Envelope, Outcome, Return

T = TypeVar("T")

ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")
WEEK_MS = 7 * 24 * 3_600_000
"""The window: no turn comes back in a test."""

IDS = [f"call-{n}" for n in range(8)]
NEEDS = [
    None,
    Terms(slots=(SlotTerm("room", "a"),)),
    Terms(slots=(SlotTerm("room", "b"),)),
    Terms(rates=(RateTerm("api", "a"),)),
    Terms(rates=(RateTerm("api", "a", 2),)),
    Terms(rates=(RateTerm("api", "b"),), slots=(SlotTerm("room", "a"),)),
    Terms(rates=(RateTerm("api", "a"),), slots=(SlotTerm("room", "b"),)),
    *(Terms(group=group) for group in "gh"),
    *(Terms(slots=(SlotTerm("room", "a"),), group=group) for group in "gh"),
    Terms(rates=(RateTerm("api", "a", 2),), slots=(SlotTerm("room", "b"),), group="g"),
]

ids = st.sampled_from(IDS)
numbers = st.integers(0, 1_000)


@dataclass
class Call:
    """A call that has not ended, as the model knows it.

    Attributes:
        rank: its place among those of its priority; 0 once it was scheduled: it becomes ready when somebody looks.
        is_due: it is not scheduled.
        is_returned: it was handed back, or lost by a consumer, since it became ready.
        delivery, holder: the latest, and whose it is; None while nobody has it.
    """

    terms: Terms | None
    body: bytes
    priority: int
    rank: int
    is_due: bool = True
    is_returned: bool = False
    crashes: int = 0
    delivery: Delivery | None = None
    holder: Consumer | None = None


class LimitedMachine(RuleBasedStateMachine):
    """Does what may be done to calls that need something, at random. A subclass gives the backend."""

    make_backend: Callable[[], Backend]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stage = Stage(self.make_backend())
        self.process: Process = self.run(self.stage.process())
        self.office = self.process.transport.limits()
        self.most = {ROOM: 1, API: 2}
        self.run(self.office.declare({ROOM: Numbers(1), API: Numbers(2, WEEK_MS)}))
        self.calls: dict[str, Call] = {}
        self.used: dict[str, int] = {}
        self.ranks = count(1)
        self.consumers = [self.run(self.process.consumer()) for _ in range(2)]

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    def teardown(self) -> None:
        self.run(self.stage.close())
        self.runner.close()

    @rule(terms=st.sampled_from(NEEDS), priority=st.integers(0, 1), due=st.sampled_from(["now", "now", "far", "soon"]))
    @precondition(lambda self: len(self.calls) < len(IDS))
    def publish(self, terms: Terms | None, priority: int, due: str) -> None:
        id = next(id for id in IDS if id not in self.calls)
        rank = next(self.ranks)
        body = f"body {rank}".encode()
        due_ms = {"now": 0, "far": self.far_ms, "soon": self.process.transport.now_ms() + 2}[due]
        if terms is not None and not self.process.transport.capabilities.has_groups:
            terms = Terms(terms.rates, terms.slots) if terms.needs_grant else None
        assert self.run(self.process.publish(Envelope(id, QUEUE, body, priority, due_ms, terms=terms))) == [None]
        self.calls[id] = Call(terms, body, priority, rank if due == "now" else 0, due != "far")
        if due == "soon":
            self.run(self.stage.backend.pass_time(0.02))

    @rule(number=numbers, limit=st.sampled_from([1, 2, 20]), suspects=st.sampled_from([0, 20, 20]))
    def fetch(self, number: int, limit: int, suspects: int) -> None:
        """Nothing is lent without what it needs; and what stands behind another that needs the same never before it."""
        consumer = self.consumer(number)
        deliveries = self.run(consumer.fetch(LIMITS, limit, wait=False, suspects=suspects))
        assert len(deliveries) <= limit
        assert deliveries or not suspects or all(map(self.is_held_up, self.waiting()))
        for delivery in deliveries:
            call = self.calls[delivery.id]
            assert call.delivery is None
            assert call.is_due
            has_terms = call.terms is not None and call.terms.needs_grant
            assert (delivery.body, delivery.crashes, delivery.has_terms) == (call.body, call.crashes, has_terms)
            assert self.lacks(call.terms) is None, "it was lent without what it needs"
            call.delivery, call.holder = delivery, consumer
            for rate in call.terms.rates if call.terms else ():
                self.used[rate.key] = self.used.get(rate.key, 0) + min(rate.weight, self.most[API])
            if suspects:
                assert not [other for other in self.waiting() if goes_before(other, call)]

    @rule(number=numbers)
    def drain(self, number: int) -> None:
        """When a fetch brings nothing, each call that waits lacks something."""
        before = -1
        while (running := sum(call.delivery is not None for call in self.calls.values())) != before:
            before = running
            self.fetch(number, 20, 20)
        assert all(map(self.is_held_up, self.waiting()))

    @rule(number=numbers, kind=st.sampled_from(["done", "again", "later", "return", "crash", "dead"]))
    @precondition(lambda self: any(call.delivery for call in self.calls.values()))
    def settle(self, number: int, kind: str) -> None:
        lent = [(id, call) for id, call in self.calls.items() if call.delivery is not None]
        id, call = lent[number % len(lent)]
        assert call.delivery is not None
        assert call.holder is not None
        delivery, rank = call.delivery, next(self.ranks)
        body = f"body {rank}".encode()
        settlement = {
            "done": Done(delivery, Outcome(None)),
            "dead": Dead(delivery, Outcome(None), "It failed.", 60_000),
            "again": Again(delivery, body, 0),
            "later": Again(delivery, body, self.far_ms),
            "return": Return(delivery),
            "crash": Return(delivery, is_crash=True),
        }[kind]
        assert self.run(call.holder.settle([settlement])) == [True]
        assert self.run(call.holder.settle([settlement])) == [False]
        call.delivery = call.holder = None
        if isinstance(settlement, Done | Dead):
            del self.calls[id]
        elif isinstance(settlement, Again):
            call.body, call.is_due = body, kind == "again"
            call.rank = rank if call.is_due else 0
            call.is_returned = False
        else:
            call.crashes += settlement.is_crash
            call.is_returned = True

    @rule(id=ids, even_running=st.booleans())
    def withdraw(self, id: str, *, even_running: bool) -> None:
        call = self.calls.get(id)
        is_open = call is not None and (even_running or call.delivery is None)
        assert self.run(self.process.transport.withdraw(id, QUEUE, Outcome(None), even_running=even_running)) == is_open
        if is_open:
            del self.calls[id]

    @rule(id=ids, is_due=st.booleans())
    def reschedule(self, id: str, *, is_due: bool) -> None:
        call = self.calls.get(id)
        read = b"" if call is None else call.body
        rank = next(self.ranks)
        body = f"body {rank}".encode()
        moving = self.process.transport.reschedule(id, QUEUE, read, body, 0 if is_due else self.far_ms)
        is_moved = call is not None and call.delivery is None
        assert self.run(moving) == is_moved
        if is_moved and call is not None:
            call.body, call.is_due, call.rank = body, is_due, rank if is_due else 0
            call.is_returned = False

    @rule(id=st.sampled_from([ROOM, API]), most=st.integers(1, 4))
    def change(self, id: LimitId, most: int) -> None:
        self.most[id] = most
        self.run(self.office.change(id, Numbers(most, WEEK_MS if id is API else 0)))

    @rule(number=numbers, is_dead=st.booleans())
    def lose(self, number: int, *, is_dead: bool) -> None:
        """A consumer leaves or dies, and a new one joins."""
        gone = self.consumer(number)
        held = [call for call in self.calls.values() if call.holder is gone]
        if is_dead:
            assert self.run(self.process.transport.release([gone.name])) == len(held)
        else:
            assert self.run(gone.leave()) == len(held)
        for call in held:
            call.delivery = call.holder = None
            call.crashes += is_dead
            call.is_returned = True
        self.consumers.remove(gone)
        self.consumers.append(self.run(self.process.consumer()))

    @invariant()
    def counts_agree(self) -> None:
        found = self.run(self.process.counts())
        running = sum(call.delivery is not None for call in self.calls.values())
        scheduled = sum(not call.is_due for call in self.calls.values())
        assert found == Counts(found.ready, scheduled, running, found.dead, len(self.waiting()) - found.ready)

    @property
    def far_ms(self) -> int:
        return self.process.transport.now_ms() + WEEK_MS

    def consumer(self, number: int) -> Consumer:
        return self.consumers[number % len(self.consumers)]

    def waiting(self) -> list[Call]:
        return [call for call in self.calls.values() if call.is_due and call.delivery is None]

    def is_held_up(self, call: Call) -> bool:
        """Tell whether one that waits lacks something, or may stand behind one that counts for more than there is."""
        if self.lacks(call.terms):
            return True
        keys = {rate.key for rate in call.terms.rates} if call.terms else set[str]()
        lacking = [other.terms for other in self.waiting() if other.terms and self.lacks(other.terms)]
        return any(rate.weight > 1 and rate.key in keys for terms in lacking for rate in terms.rates)

    def lacks(self, terms: Terms | None) -> str | None:
        """Return what a call lacks now, by the model."""
        for slot in terms.slots if terms else ():
            running = [call.terms for call in self.calls.values() if call.delivery is not None and call.terms]
            if sum(slot in other.slots for other in running) >= self.most[ROOM]:
                return f"a slot of {slot.key}"
        for rate in terms.rates if terms else ():
            if self.used.get(rate.key, 0) + min(rate.weight, self.most[API]) > self.most[API]:
                return f"a turn of {rate.key}"
        return None


def goes_before(one: Call, other: Call) -> bool:
    """Tell whether one that waits should have been lent before another that needs the same."""
    if one.terms != other.terms or max(one.crashes, other.crashes) >= SUSPECT_CRASHES or not (one.rank and other.rank):
        return False
    if one.terms is not None and one.terms.group:  # a step of priority is worth more than the test takes
        return (not one.is_returned, -one.priority, one.rank) < (not other.is_returned, -other.priority, other.rank)
    return (-one.priority, one.rank) < (-other.priority, other.rank)
