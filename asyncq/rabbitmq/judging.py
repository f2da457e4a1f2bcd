"""The judging: a ledger is asked for what has come from the server, and what it says of each message is done."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import TypeVar

from asyncq.ledger import Copy, Held, Holder, Parked, Suspect
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.loans import Loan, held_ms, parked_ms
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.turning import Turning
from asyncq.rabbitmq.wire import copy_of, remembered_facts
from asyncq.rabbitmq.yielding import Yielding
from asyncq.transport import Delivery

T = TypeVar("T")


class Judging:
    """Asks whether what has come is to be run, has to wait, or is not wanted, and lets go of what is not to be run.

    Args:
        holder: of whom it is asked.
        loans: what is lent, by token.
        turning: is told of what has to wait.
        yielding: takes suspects that are not to be run here.
        returning: sends round what is to come again.
        now_ms: the time.
        see: called with each queue from which a call of a group has come.
        put_back: called with what nothing was said of: it is to be where it was.
    """

    def __init__(
        self,
        holder: Holder,
        loans: MutableMapping[str, Loan],
        turning: Turning,
        yielding: Yielding,
        returning: Returning,
        now_ms: Callable[[], int],
        see: Callable[[str], None],
        put_back: Callable[[Sequence[Arrival]], None],
    ) -> None:
        self._holder = holder
        self._loans = loans
        self._turning = turning
        self._yielding = yielding
        self._returning = returning
        self._now_ms = now_ms
        self._see = see
        self._put_back = put_back

    async def lend(self, arrivals: Sequence[Arrival], suspects: int) -> list[Delivery]:
        """Return what is lent of what has come, no more than so many suspects. Raises LeaseLost, BrokerUnavailable."""
        copies = [copy_of(arrival) for arrival in arrivals]
        verdicts = await self._answered(self._holder.take(copies, suspects=suspects), arrivals)
        self.see_groups(copies)
        deliveries: list[Delivery] = []
        for arrival, copy, verdict in zip(arrivals, copies, verdicts, strict=True):
            if verdict is None:
                arrival.acknowledge()
            elif isinstance(verdict, Held | Parked):
                self._send_round(arrival, verdict)
            elif isinstance(verdict, Suspect):
                self._yielding.put(arrival)
            else:
                self._loans[verdict.token] = Loan(copy, arrival)
                deliveries.append(Delivery(*copy[:4], *verdict))
        return deliveries

    async def line_up(self, arrivals: Sequence[Arrival]) -> None:
        """Let what has come wait in the lanes of its queue. Raises LeaseLost, BrokerUnavailable."""
        copies = [copy_of(arrival) for arrival in arrivals]
        verdicts = await self._answered(self._holder.line_up(copies), arrivals)
        self.see_groups(copies)
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            if verdict is None:
                arrival.acknowledge()
            else:
                self._send_round(arrival, verdict)

    def see_groups(self, copies: Iterable[Copy]) -> None:
        """Take note of the queues from which calls of groups have come."""
        for queue in {copy.queue for copy in copies if copy.terms is not None and copy.terms.group}:
            self._see(queue)

    async def _answered(self, asking: Awaitable[T], arrivals: Sequence[Arrival]) -> T:
        try:
            return await asking
        except BaseException:
            self._put_back(arrivals)
            raise

    def _send_round(self, arrival: Arrival, verdict: Held | Parked) -> None:
        """Let a copy come again: when its call may be free, or when the ledger may have forgotten it."""
        facts, now_ms = remembered_facts(arrival), self._now_ms()
        if isinstance(verdict, Parked):
            away_ms = parked_ms(facts.rounds)
            self._turning.expect(verdict.due_ms)
        else:
            away_ms = held_ms(verdict.lease_end_ms - now_ms, facts.rounds)
        self._returning.send_round(arrival, now_ms + away_ms, facts._replace(rounds=facts.rounds + 1))
