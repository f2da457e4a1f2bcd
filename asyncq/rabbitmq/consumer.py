"""The consumer: fetches what has arrived, and settles it."""

import math
from collections.abc import Callable, Mapping, Sequence

from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.fetching import FetchingConsumer
from asyncq.rabbitmq.holding import Holding
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.loans import round_ms
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.settling import Settling
from asyncq.rabbitmq.wire import Facts, crashes_of, due_of, losses_of, published_ms, rounds_of
from asyncq.transport import SUSPECT_CRASHES, Delivery, NoLease, Settlement

LONGEST_MS = 1_000
"""For how long a suspect is away at the most that may not be run here just now."""

CLOCKS_MS = 60_000
"""By how much the clock of who has published may be ahead of ours."""


class RabbitConsumer(FetchingConsumer):
    """A consumer of calls that nobody remembers.

    Args:
        client: its connections.
        name: unique for ever.
        queues: that are consumed.
        now_ms: the time.
        letters: where dead letters are kept within bounds.
    """

    def __init__(
        self, client: RabbitClient, name: str, queues: Sequence[str], now_ms: Callable[[], int], letters: LetterBox
    ) -> None:
        super().__init__(client, name, queues, now_ms, self._facts)
        self._now_ms = now_ms
        self._holding = Holding()
        self._settling = Settling(client, now_ms, letters, self._holding)
        self._number = 0

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Keep the queues consumed. Nothing is ever severed: without a memory nothing is withdrawn."""
        await self._keep_up(self._settling.retelling.run())

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await self._settling.settle(settlements)

    async def absolve(self) -> None:
        """Do nothing: the server itself has seen who died."""

    def lease(self) -> NoLease:
        return NoLease()

    async def leave(self) -> int:
        await self._stop_intakes()
        waiting = [
            arrival
            for intake in self._intakes.values()
            for arrival in intake.take_older_than(math.inf)
            if not self._is_known(arrival)
        ]
        held = self._holding.take_all()
        try:
            await self._returning.hand_back([*held, *waiting])
            await self._settling.retelling.finish()
        finally:
            await self._close_intakes()
        return len(held)

    async def _take(self, limits: Mapping[str, int], count: int, suspects: int) -> Sequence[Delivery]:
        deliveries: list[Delivery] = []
        for queue, limit in limits.items():
            intake = self._intakes[queue]
            before, most = len(deliveries), min(limit, count - len(deliveries))
            if intake.buffer and most:
                suspects -= self._pick(intake, most, suspects, deliveries)
            taken = len(deliveries) - before
            intake.want(limit - taken, most - taken)
        return deliveries

    def _is_known(self, arrival: Arrival) -> bool:
        return self._holding.recognise(arrival)

    def _pick(self, intake: Intake, count: int, suspects: int, deliveries: list[Delivery]) -> int:
        """Move up to so many from a buffer among the deliveries; return how many suspects are among them."""
        buffer = self._in_order(intake)
        suspected: list[tuple[Arrival, int]] = []
        while buffer and count:
            arrival = buffer.popleft()
            crashes = 0
            if arrival.properties.headers or arrival.is_redelivered or intake.losses_ms:
                if due_of(arrival) > self._now_ms():
                    self._returning.send_on(arrival)
                    continue
                if self._holding.recognise(arrival):  # a node that was killed may not know that it had sent it
                    continue
                crashes = self._crashes(arrival)
                if crashes >= SUSPECT_CRASHES:
                    suspected.append((arrival, crashes))
                    continue
            deliveries.append(self._lend(arrival, crashes))
            count -= 1
        return self._pick_suspects(intake, suspected, min(count, suspects), deliveries) if suspected else 0

    def _pick_suspects(
        self, intake: Intake, suspected: list[tuple[Arrival, int]], count: int, deliveries: list[Delivery]
    ) -> int:
        """Lend as many suspects as may be, and send the rest round; return how many were lent.

        To the server whoever dies has died of all that was sent to it. So none is lent while others are here.
        """
        kept, others = suspected[:count], suspected[count:]
        for arrival, crashes in others:
            rounds = rounds_of(arrival)
            away_ms = round_ms(0, rounds, longest_ms=LONGEST_MS)
            self._returning.send_round(arrival, self._now_ms() + away_ms, Facts(crashes, rounds=rounds + 1))
        if others or self._returning.is_sending:
            intake.buffer.extendleft(arrival for arrival, _ in reversed(kept))
            return 0
        deliveries += [self._lend(arrival, crashes) for arrival, crashes in kept]
        return len(kept)

    def _facts(self, arrival: Arrival) -> Facts:
        """Return what a message says on when it is published again."""
        return Facts(self._crashes(arrival))

    def _crashes(self, arrival: Arrival) -> int:
        """Return how many have died with a message.

        To the server, who is cut off has died. As often as we were ourselves since it was published, so were others:
        what a node does when it ends, or a network, it does to all.
        """
        losses = losses_of(arrival)
        if losses and (ours := self._intakes[arrival.queue].losses_ms):
            since_ms = published_ms(arrival) - CLOCKS_MS
            losses = max(0, losses - sum(loss_ms >= since_ms for loss_ms in ours))
        return crashes_of(arrival) + losses

    def _lend(self, arrival: Arrival, crashes: int) -> Delivery:
        self._number += 1
        delivery = self._wire.delivery(arrival, f"{self.name}/{self._number}", crashes)
        self._holding.put(delivery, arrival)
        return delivery
