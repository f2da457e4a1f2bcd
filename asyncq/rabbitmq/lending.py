"""The lending: a consumer that starts nothing which a ledger does not lend to it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.ledger import Holder
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.concluding import Concluding
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.fetching import FetchingConsumer
from asyncq.rabbitmq.issuing import Issuing
from asyncq.rabbitmq.judging import Judging
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.loans import Loan
from asyncq.rabbitmq.outliving import Outliving
from asyncq.rabbitmq.picking import Picking
from asyncq.rabbitmq.placing import Placing
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.sorting import Sorting
from asyncq.rabbitmq.tenure import PlacingLease
from asyncq.rabbitmq.turning import Turning
from asyncq.rabbitmq.wire import remembered_facts
from asyncq.rabbitmq.yielding import Yielding
from asyncq.transport import Delivery, Settlement


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
        self._placing = placing
        self._is_lost = False
        self._is_others_turn = False
        self._is_patient = True
        self._loans: dict[str, Loan] = {}
        self._concluding = Concluding(
            client.wire, sending, issuing, letters, self._returning, holder, self._loans, now_ms
        )
        self._outliving = Outliving(sending, self._loans, now_ms, seconds=patience)
        self._yielding = Yielding(self._returning, now_ms)
        self._turning = Turning(holder, placing, queues, now_ms, self._told)
        self._sorting = Sorting(self._intakes, self._turning, self._line_up, lambda: len(self._loans))
        self._picking = Picking(self._intakes, self._sorting, self._yielding, self._returning, self._in_order, now_ms)
        self._judging = Judging(
            *(holder, self._loans, self._turning, self._yielding, self._returning, now_ms),
            see=self._sorting.see,
            put_back=self._put_back,
        )

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
        self._is_patient = wait
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
        if crowded := self._picking.crowded(limits, count):
            async with self._giving_up_if_lost():
                await self._sorting.sort(crowded)
        has_others = self._picking.has_any(limits)
        if self._turning.comes_first(limits) and not (has_others and self._is_others_turn):
            share = -(-count // 2) if has_others else count
            self._picking.want(limits, count)  # what comes of that has its turn after this
            # By itself: what comes after this may fail, or be cancelled, and nobody would run what was lent here.
            if deliveries := await self._from_lines(limits, share, suspects):
                self._is_others_turn = True
                return deliveries
        self._is_others_turn = False
        while arrivals := self._picking.take(limits, count, suspects):
            async with self._giving_up_if_lost():
                deliveries = await self._judging.lend(arrivals, suspects)
            if deliveries:
                return deliveries
        # Maybe because it was parked.
        deliveries = await self._from_lines(limits, count, suspects) if self._turning.is_due(limits) else []
        if not deliveries:
            self._look_again(limits)
        return deliveries

    def _look_again(self, queues: Collection[str]) -> None:
        """Leave nothing behind that was passed over for the sake of lines, in which nobody may wait any more."""
        if self._picking.has_any(queues):
            self._event.set()
        self._sorting.wake()

    async def _from_lines(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Delivery]:
        """Return what is lent of calls that were parked."""
        try:
            async with self._giving_up_if_lost():
                turns = await self._turning.take(limits, count, suspects)
        except BrokerUnavailable:
            if not self._is_patient or any(self._intakes[queue].buffer for queue in limits):
                raise  # some may be there; nor could anything be lent of what has come
            return []
        self._loans |= {lent.token: Loan(copy, None) for copy, lent in turns}
        self._judging.see_groups(copy for copy, _ in turns)
        return [Delivery(*copy[:4], *lent) for copy, lent in turns]

    async def _line_up(self, intake: Intake, count: int) -> None:
        """Let no more than so many of what has come wait in their lanes."""
        arrivals: list[Arrival] = []
        self._picking.take_from(intake, count, arrivals)
        await self._judging.line_up(arrivals)

    async def _wait(self) -> None:
        self._turning.begin_wait(self._sorting.fetched)
        try:
            await super()._wait()
        finally:
            self._turning.end_wait()

    async def _probe(self, limits: Mapping[str, int]) -> None:
        await super()._probe(limits)
        async with self._giving_up_if_lost():
            await self._sorting.sort(limits)
        self._turning.hurry()

    def _told(self) -> None:
        super()._told()
        self._sorting.wake()

    def _put_back(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in reversed(arrivals):
            if not arrival.is_lost:
                self._intakes[arrival.queue].buffer.appendleft(arrival)
        self._told()

    @asynccontextmanager
    async def _giving_up_if_lost(self) -> AsyncGenerator[None, None]:
        """Give all back to the server where somebody else has taken over."""
        try:
            yield
        except LeaseLost:
            self._lose()
            await self._abandon()
            raise

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
