"""The lending: a consumer that starts nothing which a ledger does not lend to it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.ledger import Copy, Held, Holder, Parked
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.concluding import Concluding
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.fetching import FetchingConsumer
from asyncq.rabbitmq.issuing import Issuing
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.loans import Loan, parked_ms, round_ms
from asyncq.rabbitmq.outliving import Outliving
from asyncq.rabbitmq.placing import Placing
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.sorting import Sorting
from asyncq.rabbitmq.tenure import PlacingLease
from asyncq.rabbitmq.turning import Turning
from asyncq.rabbitmq.wire import copy_of, due_of, remembered_facts
from asyncq.rabbitmq.yielding import Yielding
from asyncq.transport import SUSPECT_CRASHES, Delivery, Settlement

T = TypeVar("T")


class LedgerConsumer(FetchingConsumer):
    """A consumer of calls that a ledger remembers.

    Args:
        client: its connections.
        holder: itself, as the ledger knows it.
        queues: that are consumed.
        now_ms: the time.
        sending, issuing, letters, placing: of the transport.
        patience: seconds after which a delivery is acknowledged whose call still runs.
    """

    def __init__(
        self,
        client: RabbitClient,
        holder: Holder,
        queues: Sequence[str],
        now_ms: Callable[[], int],
        *,
        sending: Sending,
        issuing: Issuing,
        letters: LetterBox,
        placing: Placing,
        patience: float,
    ) -> None:
        super().__init__(client, holder.name, queues, now_ms, remembered_facts)
        self._holder = holder
        self._now_ms = now_ms
        self._placing = placing
        self._is_lost = False
        self._is_others_turn = False
        self._loans: dict[str, Loan] = {}
        self._concluding = Concluding(
            client.wire, sending, issuing, letters, self._returning, holder, self._loans, now_ms
        )
        self._outliving = Outliving(sending, self._loans, now_ms, seconds=patience)
        self._yielding = Yielding(holder, self._returning, now_ms, self._told)
        self._turning = Turning(holder, placing, queues, now_ms, self._told)
        self._sorting = Sorting(self._intakes, self._turning, self._line_up, lambda: len(self._loans))

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Keep the queues consumed, hear of what is withdrawn, and see to what is left behind."""

        def lose(tokens: Sequence[str]) -> None:
            for token in tokens:
                loan = self._loans.pop(token, None)
                if loan is not None:
                    loan.release()
            self._turning.freed()
            severed(tokens)

        async with asyncio.TaskGroup() as doers:
            doing = (self._keep_up(), self._holder.run(lose), self._placing.run(), self._outliving.run())
            for doer in (*doing, self._yielding.run(), self._turning.run(), self._sorting.run()):
                doers.create_task(doer)

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        self._sorting.fetched = [queue for queue, limit in limits.items() if limit > 0]
        try:
            return await super().fetch(limits, count, wait=wait, suspects=suspects)
        finally:
            self._sorting.fetched = ()
            self._sorting.wake()  # there may be no time for the rest

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        effects = await self._concluding.settle(settlements)
        if any(settlement.delivery.has_terms for settlement in settlements):
            self._turning.freed()
        return effects

    async def absolve(self) -> None:
        """Say that it has not died, and let the server give what it held to others."""
        try:
            await self._holder.absolve()
        finally:
            if self._is_lost:
                await self._abandon()

    def lease(self) -> PlacingLease:
        return PlacingLease(self._holder.lease(), self._placing, self._lose)

    async def leave(self) -> int:
        if self._has_left:
            return 0
        await self._stop_intakes()
        try:
            count = await self._holder.leave()
            loans = list(self._loans.values())
            self._loans.clear()
            await self._concluding.give_back(loans)
            waiting = [arrival for intake in self._intakes.values() for arrival in intake.take_older_than(math.inf)]
            await self._returning.hand_back([*self._yielding.take_all(), *waiting])
        finally:
            await self._close_intakes()
        return count

    async def _take(self, limits: Mapping[str, int], count: int, suspects: int) -> Sequence[Delivery]:
        if crowded := [queue for queue in limits if self._is_crowded(queue, min(limits[queue], count))]:
            async with self._giving_up_if_lost():
                await self._sorting.sort(crowded)
        has_others = any(self._intakes[queue].buffer and not self._sorting.has(queue) for queue in limits)
        if self._turning.comes_first(limits) and not (has_others and self._is_others_turn):
            share = -(-count // 2) if has_others else count
            self._want(limits, count)  # what comes of that has its turn after this
            # By itself: what comes after this may fail, or be cancelled, and nobody would run what was lent here.
            if deliveries := await self._from_lines(limits, share, suspects):
                self._is_others_turn = True
                return deliveries
        self._is_others_turn = False
        while arrivals := self._picked(limits, count, suspects):
            if deliveries := await self._lent(arrivals, suspects):
                return deliveries
        # Maybe because it was parked.
        deliveries = await self._from_lines(limits, count, suspects) if self._turning.is_due(limits) else []
        if not deliveries:
            self._look_again(limits)
        return deliveries

    def _look_again(self, queues: Collection[str]) -> None:
        """Leave nothing behind that was passed over for the sake of lines, in which nobody may wait any more."""
        if any(self._intakes[queue].buffer and not self._sorting.has(queue) for queue in queues):
            self._event.set()
        self._sorting.wake()

    def _want(self, limits: Mapping[str, int], count: int) -> None:
        for queue, limit in limits.items():
            if not self._sorting.has(queue):
                self._intakes[queue].want(limit, min(limit, count))

    def _is_crowded(self, queue: str, limit: int) -> bool:
        """Tell whether more has come from a queue with groups than may be lent: it has to be in turn."""
        intake = self._intakes[queue]
        return intake.is_sorted and len(intake.buffer) > limit

    async def _from_lines(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Delivery]:
        """Return what is lent of calls that were parked."""
        try:
            async with self._giving_up_if_lost():
                turns = await self._turning.take(limits, count, suspects)
        except BrokerUnavailable:
            if any(self._intakes[queue].buffer for queue in limits):
                raise  # nothing of it could be lent either
            return []
        self._loans |= {lent.token: Loan(copy, None) for copy, lent in turns}
        self._see_groups(copy for copy, _ in turns)
        return [Delivery(*copy[:4], *lent) for copy, lent in turns]

    async def _wait(self) -> None:
        self._turning.begin_wait()
        try:
            await super()._wait()
        finally:
            self._turning.end_wait()

    async def _probe(self, limits: Mapping[str, int]) -> None:
        await super()._probe(limits)
        async with self._giving_up_if_lost():
            await self._sorting.sort(limits)
        self._turning.hurry()

    def _picked(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Arrival]:
        """Take what may be taken out of the buffers, after a suspect that waits, and let the server send more."""
        picked: list[Arrival] = []
        if suspects and (suspect := self._yielding.take(limits)) is not None:
            picked.append(suspect)
            limits = {**limits, suspect.queue: limits[suspect.queue] - 1}
        for queue, limit in limits.items():
            intake = self._intakes[queue]
            if self._sorting.has(queue):
                continue
            before, most = len(picked), min(limit, count - len(picked))
            if intake.buffer and most:
                self._pick(intake, most, picked)
            taken = len(picked) - before
            intake.want(limit - taken, most - taken)
        return picked

    def _pick(self, intake: Intake, count: int, picked: list[Arrival]) -> None:
        buffer = self._in_order(intake)
        while buffer and count:
            arrival = buffer.popleft()
            if arrival.properties.headers and due_of(arrival) > self._now_ms():
                self._returning.send_on(arrival)
            else:
                picked.append(arrival)
                count -= 1

    async def _lent(self, arrivals: Sequence[Arrival], suspects: int) -> list[Delivery]:
        """Return what is lent of what has come, and let go of the rest."""
        copies = [copy_of(arrival) for arrival in arrivals]
        async with self._giving_up_if_lost():
            verdicts = await self._answered(self._holder.take(copies), arrivals)
        self._see_groups(copies)
        deliveries: list[Delivery] = []
        for arrival, copy, verdict in zip(arrivals, copies, verdicts, strict=True):
            if verdict is None:
                arrival.acknowledge()
            elif isinstance(verdict, Held | Parked):
                self._send_round(arrival, verdict)
            elif verdict.crashes >= SUSPECT_CRASHES and not suspects:
                self._yielding.put(arrival, Delivery(*copy[:4], *verdict))
            else:
                suspects -= verdict.crashes >= SUSPECT_CRASHES
                self._loans[verdict.token] = Loan(copy, arrival)
                deliveries.append(Delivery(*copy[:4], *verdict))
        return deliveries

    async def _line_up(self, intake: Intake, count: int) -> None:
        """Let no more than so many of what has come wait in their lanes."""
        arrivals: list[Arrival] = []
        self._pick(intake, count, arrivals)
        copies = [copy_of(arrival) for arrival in arrivals]
        verdicts = await self._answered(self._holder.line_up(copies), arrivals)
        self._see_groups(copies)
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            if verdict is None:
                arrival.acknowledge()
            else:
                self._send_round(arrival, verdict)

    def _see_groups(self, copies: Iterable[Copy]) -> None:
        for queue in {copy.queue for copy in copies if copy.terms is not None and copy.terms.group}:
            self._sorting.see(queue)

    def _send_round(self, arrival: Arrival, verdict: Held | Parked) -> None:
        """Let a copy come again: when its call may be free, or when the ledger may have forgotten it."""
        facts, now_ms = remembered_facts(arrival), self._now_ms()
        if isinstance(verdict, Parked):
            away_ms = parked_ms(facts.rounds)
            self._turning.expect(verdict.due_ms)
        else:
            away_ms = round_ms(verdict.lease_end_ms - now_ms, facts.rounds)
        self._returning.send_round(arrival, now_ms + away_ms, facts._replace(rounds=facts.rounds + 1))

    def _told(self) -> None:
        super()._told()
        self._sorting.wake()

    async def _answered(self, asking: Awaitable[T], arrivals: Sequence[Arrival]) -> T:
        """Return what the ledger says of what has come; where it says nothing all of that is where it was."""
        try:
            return await asking
        except BaseException:
            self._put_back(arrivals)
            raise

    @asynccontextmanager
    async def _giving_up_if_lost(self) -> AsyncGenerator[None, None]:
        """Give all back to the server where somebody else has taken over."""
        try:
            yield
        except LeaseLost:
            self._lose()
            await self._abandon()
            raise

    def _put_back(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in reversed(arrivals):
            if not arrival.is_lost:
                self._intakes[arrival.queue].buffer.appendleft(arrival)
        self._told()

    def _lose(self) -> None:
        """Take note that somebody else has taken over; called on the lease's thread."""
        self._is_lost = True

    async def _abandon(self) -> None:
        """Let the server give to others what has come here: it is not ours any more."""
        with suppress(BrokerUnavailable):  # the connection has ended, and the same comes of it
            await self._stop_intakes()
        self._loans.clear()
        self._yielding.take_all()
        await self._close_intakes()
