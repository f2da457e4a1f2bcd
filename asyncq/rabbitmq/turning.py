"""The turning: calls that wait in a ledger for what limits grant are asked for when their turn has come."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.ledger import Copy, Holder, Lent
from asyncq.rabbitmq.placing import Placing

LOOK = 20.0
"""Seconds after which somebody looks unasked: whoever would have told may have died before."""

SHORT_LOOK = 5.0
"""The same while calls wait: who runs others all the time is not called for a slot that was freed elsewhere."""

LEFT_OUT = 1.0
"""Seconds after which one listens for calls of all queues again that has been called for a queue it has no time for."""

NEVER_MS = 2**62

MOST_QUESTIONS = 1_000
"""How often it is asked at once for calls behind those that move to other lines, hundreds of them each time."""

SPIN_MS = 1_000
"""After so long it is asked again when nothing was lent though a line's time had come."""

_AGAIN = Backoff(delay=0.1, max_delay=5.0)


class Turning:
    """Knows when to ask, and asks.

    While a fetch waits, its holder waits to be called: for a slot that was freed anywhere, or a change. Who frees slots
    itself asks by itself. A time that was told is kept by a timer. So nobody asks in vain; where no call ever waits, a
    look in `LOOK` seconds is all that it costs, beside the fetches.

    Args:
        holder: of whom it is asked.
        placing: publishes what was lent in an answer that never came.
        queues: that are consumed.
        now_ms: the time.
        told: called when it is worth fetching.
    """

    def __init__(
        self,
        holder: Holder,
        placing: Placing,
        queues: Sequence[str],
        now_ms: Callable[[], int],
        told: Callable[[], None],
    ) -> None:
        self._holder = holder
        self._placing = placing
        self._queues = list(queues)
        self._now_ms = now_ms
        self._told = told
        self._due_ms = NEVER_MS
        self._are_waiting = False
        self._asked: Collection[str] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: Sequence[str] = ()
        self._heard: Sequence[str] = self._queues
        self._is_fetch_waiting = asyncio.Event()
        self._has_fetch_woken = asyncio.Event()
        self._failures = 0
        self._random = Random()

    @property
    def are_waiting(self) -> bool:
        """Whether calls are known to wait in lines."""
        return self._are_waiting

    def is_due(self, queues: Collection[str]) -> bool:
        """Tell whether it is to be asked for calls of these queues."""
        if self._due_ms <= self._now_ms():
            return True
        return self._are_waiting and not all(queue in self._asked for queue in queues)

    def comes_first(self, queues: Collection[str]) -> bool:
        """Tell whether it is to be asked before what has arrived is: calls are known to wait."""
        return self._are_waiting and self.is_due(queues)

    def begin_wait(self, queues: Sequence[str]) -> None:
        """Take note that there is time for more of these queues."""
        self._wanted = queues
        self._is_fetch_waiting.set()
        self._has_fetch_woken.clear()
        if self._timer is None and self._due_ms < NEVER_MS:  # it went off, and the clock was set back before we asked
            self._set_timer()

    def end_wait(self) -> None:
        """Take note that there may be none any more."""
        self._wanted = ()
        self._is_fetch_waiting.clear()
        self._has_fetch_woken.set()

    def expect(self, due_ms: int | None) -> None:
        """Take note that a call was parked, and when to ask for its line; None: only a freed slot or a change helps."""
        self._are_waiting = True
        if due_ms is not None:
            self._be_due(due_ms)

    def freed(self) -> None:
        """Take note that slots may have been given back here."""
        if self._are_waiting:
            self.hurry()

    def hurry(self) -> None:
        """Ask soon."""
        self._be_due(0)
        self._told()

    async def take(self, limits: Mapping[str, int], count: int, suspects: int) -> Sequence[tuple[Copy, Lent]]:
        """Ask for no more than so many. Raises LeaseLost and BrokerUnavailable."""
        asked_ms = self._now_ms()
        self._due_ms = NEVER_MS
        self._asked = tuple(limits)
        try:
            turns = await self._holder.take_turns(limits, count, suspects=suspects)
            for _ in range(MOST_QUESTIONS):
                if turns.lent or turns.due_ms != 0:
                    break  # else many have moved from one line to another, and there are more
                turns = await self._holder.take_turns(limits, count, suspects=suspects)
        except BrokerUnavailable:
            self._failures += 1
            self._be_due(self._now_ms() + round(_AGAIN.seconds(self._failures, self._random) * 1000))
            self._placing.wake()
            raise
        except BaseException:
            self._due_ms = 0
            self._placing.wake()
            raise
        self._failures = 0
        self._are_waiting = turns.are_waiting or (self._are_waiting and len(limits) < len(self._queues))
        if turns.due_ms is not None:
            is_in_vain = not turns.lent and turns.due_ms <= asked_ms
            self._be_due(self._now_ms() + SPIN_MS if is_in_vain else turns.due_ms)
        return turns.lent

    async def run(self) -> None:
        """Wait to be called, while there is time for more, and look now and then, until cancelled."""
        failures = 0
        try:
            while True:
                try:
                    await self._look()
                    while await self._is_called():
                        await self._answer()
                    failures = 0
                except LeaseLost:
                    return  # whoever fetches learns of it
                except BrokerUnavailable:
                    failures += 1
                    await asyncio.sleep(_AGAIN.seconds(failures, self._random))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _look(self) -> None:
        """See whether anybody waits, and until when, and take nothing."""
        turns = await self._holder.take_turns(dict.fromkeys(self._queues, 0), 0)
        if turns.are_waiting:
            self.expect(turns.due_ms)

    async def _is_called(self) -> bool:
        """Wait to be called, for as long as may be."""
        seconds = SHORT_LOOK if self._are_waiting else LOOK
        try:
            async with asyncio.timeout(seconds):
                await self._is_fetch_waiting.wait()
        except TimeoutError:
            return False
        heard, self._heard = self._heard, self._queues
        return await self._holder.called(heard, LOOK if heard is self._queues else LEFT_OUT)

    async def _answer(self) -> None:
        """Have it asked, and let somebody else know of what there is no time for here."""
        wanted = self._wanted
        self.expect(0)
        if wanted:
            self._told()
            await self._has_fetch_woken.wait()
        if len(wanted) < len(self._queues):  # it may have been for one of the others, and nobody else was called
            await self._look()
            self._heard = wanted or self._queues  # else one is called again for these at once

    def _be_due(self, due_ms: int) -> None:
        """Ask then, unless it is to be sooner."""
        if due_ms >= self._due_ms:
            return
        self._due_ms = due_ms
        if self._timer is not None:
            self._timer.cancel()
        self._set_timer()

    def _set_timer(self) -> None:
        """See at its time whether to ask, and now and then before: the clock may be set ahead meanwhile."""
        left_ms = max(0, self._due_ms - self._now_ms())
        self._timer = asyncio.get_running_loop().call_later(min(LOOK, (left_ms + 1) / 1000), self._go_off)

    def _go_off(self) -> None:
        """Tell that it is to be asked. Before its time, by a clock that was set back meanwhile, nobody would ask."""
        self._timer = None
        if self._due_ms <= self._now_ms():
            self._told()
        elif self._due_ms < NEVER_MS:
            self._set_timer()
