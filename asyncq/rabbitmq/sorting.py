"""The sorting: messages that nobody has time for go to the lanes of their groups, in the ledger."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.turning import Turning

BATCH = 500
"""Messages of a queue with groups that the server may send besides those that run."""

GRACE = 0.02
"""Seconds for which a message waits for a fetch that has time for it, where nothing else waits."""

REMEMBERED = 60.0
"""Seconds after the last call of a group in which its queue counts as one with groups."""


class Sorting:
    """Gets at what waits in the server's queues behind the many calls of one group.

    A queue from which a call of a group has come is emptied as fast as its messages can be parked, whether or not there
    are slots: so the few of another group are reached within a bounded time. What has come and fits into free slots,
    while nothing waits, is lent at once, and parked nowhere. Queues without groups are left alone.

    Attributes:
        fetched: queues for which a fetch has time; what has come from these is left to it while nothing waits in lines.

    Args:
        intakes: of the consumer, by queue.
        turning: knows whether calls wait in lines.
        line_up: parks no more than so many of what has come from a queue.
        running: how many messages are not acknowledged because they run.
    """

    def __init__(
        self,
        intakes: Mapping[str, Intake],
        turning: Turning,
        line_up: Callable[[Intake, int], Awaitable[None]],
        running: Callable[[], int],
    ) -> None:
        self._intakes = intakes
        self._turning = turning
        self._line_up = line_up
        self._running = running
        self.fetched: Sequence[str] = ()
        self._seen: dict[str, float] = {}
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()

    def see(self, queue: str) -> None:
        """Take note that a call of a group has come from a queue."""
        self._seen[queue] = time.monotonic()
        intake = self._intakes[queue]
        intake.is_sorted = True
        intake.want_at_least(BATCH + self._running())

    def wake(self) -> None:
        """Look after the queues with groups: something has come, or is not fetched any more."""
        if self._seen:
            self._wanted.set()

    def has(self, queue: str) -> bool:
        """Tell whether what has come from a queue is not to be lent as it comes: others wait who were first."""
        return self._intakes[queue].is_sorted and self._turning.are_waiting

    async def sort(self, queues: Collection[str]) -> None:
        """Park all that has come by now from those of these queues that have groups; more may come all the time.

        Raises:
            LeaseLost, BrokerUnavailable: what could not be parked is where it was.
        """
        async with self._turn:
            for queue in queues:
                intake = self._intakes[queue]
                for _ in range(0, len(intake.buffer), BATCH):
                    if intake.is_sorted and intake.buffer:
                        await self._line_up(intake, BATCH)

    async def run(self) -> None:
        """Park what nobody has time for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._forget(time.monotonic() - REMEMBERED)
            if not self._turning.are_waiting:
                await asyncio.sleep(GRACE)  # whoever runs things here may be about to fetch
            try:
                await self.sort(
                    [queue for queue in self._seen if self._turning.are_waiting or queue not in self.fetched]
                )
            except (LeaseLost, BrokerUnavailable):  # whoever fetches learns of it
                self._forget(math.inf)  # what has come is not to stay here; the next fetch that succeeds begins anew
            for queue in self._seen:
                self._intakes[queue].want_at_least(BATCH + self._running())

    def _forget(self, before: float) -> None:
        """Leave queues alone from which no call of a group has come since."""
        for queue in [queue for queue, at in self._seen.items() if at < before]:
            del self._seen[queue]
            self._intakes[queue].is_sorted = False
            self._intakes[queue].pause()  # and let the server send what there are slots for
