"""The settlement state machine where messages travel: a fetch brings some of what is ready, in the end all of it."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from asyncq.transport import Delivery
from tests.conformance.machine import Call, Member, SettlementMachine, numbers

SECONDS = 10.0
"""How long something may take that has to happen in the end."""


class TravellingMachine(SettlementMachine):
    """On a transport beside a ledger: a call may have two copies, in any order, and only the ledger's word is exact."""

    def check_fetched(
        self, holder: Member, deliveries: Sequence[Delivery], ready: list[Call], limit: int, suspects: int
    ) -> None:
        """No more came than may."""
        assert len(deliveries) <= limit
        assert not (holder.is_out and deliveries)

    @rule(member=numbers, limit=st.integers(1, 4), suspects=st.just(10))
    def fetch(self, member: int, limit: int, suspects: int) -> None:
        """Fetch suspects as well: those that may not be lent go round for a moment."""
        super().fetch(member, limit, suspects)

    @rule(member=numbers)
    @precondition(lambda self: any(not member.is_out for member in self.members[-4:]))
    def drain(self, member: int) -> None:
        """Fetch until nothing is ready: nothing is lost."""
        latest = self.members[-4:]
        while latest[member % len(latest)].is_out:
            member += 1
        deadline = self.now_ms + SECONDS * 1000
        while any(call.due_ms <= self.now_ms for call in self.waiting()):
            assert self.now_ms < deadline, "something that is ready does not come"
            self.fetch(member, 4, 10)

    @invariant()
    def counts_agree(self) -> None:
        running = sum(call.delivery is not None for call in self.calls.values())
        scheduled = sum(call.due_ms > self.now_ms for call in self.waiting())
        counts = self.run(self.process.counts())
        assert (counts.scheduled, counts.running, counts.dead) == (scheduled, running, len(set(self.deaths)))
