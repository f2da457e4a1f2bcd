"""The placing: what a dead consumer held is published again, and what a call that waits has become."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Copy, Ledger
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.wire import facts_of
from asyncq.transport import Envelope

AT_ONCE = 1_000
LOOK = 30.0
"""Seconds between looks for what a reclaimer has left that died before it had published it."""

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds after which an orphan is published once more that nobody has been lent: the server may have given its message
to somebody who is frozen or cut off, as it does until it misses two heartbeats."""

_AGAIN = Backoff(delay=0.1, max_delay=5.0)


class _Tries(NamedTuple):
    """What was done for an orphan.

    Attributes:
        times: how often it was published.
        next_at: when it is to be published again, by `time.monotonic()`.
    """

    times: int
    next_at: float


class Placing:
    """Gives orphans to the server. What has two copies then is told from the ledger.

    Args:
        ledger: who knows of them.
        sending: what publishes.
    """

    def __init__(self, ledger: Ledger, sending: Sending) -> None:
        self._ledger = ledger
        self._sending = sending
        self._tries: dict[tuple[str, int], _Tries] = {}
        self._is_ours = False
        self._wanted = asyncio.Event()
        self._random = Random()

    def wake(self) -> None:
        """Look soon: something was reclaimed here."""
        self._is_ours = True
        self._wanted.set()

    async def place_all(self) -> None:
        """Publish all there are, once: who held them is known to be dead. Raises BrokerUnavailable."""
        while orphans := await self._ledger.orphans(AT_ONCE):
            await self._ledger.placed(await self._published(orphans))
            if len(orphans) < AT_ONCE:
                return

    async def place(self, copies: Sequence[Copy]) -> None:
        """Publish what calls that wait have become. What is refused is an orphan still. Raises BrokerUnavailable."""
        published = await self._published(copies)
        with suppress(BrokerUnavailable):  # it is published once more
            await self._ledger.placed(published)

    async def run(self) -> None:
        """Place what is reclaimed here, and now and then what others have left, until cancelled."""
        failures = 0
        while True:
            try:
                await self._look()
                failures = 0
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
                continue
            next_at = min((tries.next_at for tries in self._tries.values()), default=time.monotonic() + LOOK)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_at - time.monotonic())):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _look(self) -> None:
        """Publish those orphans whose turn it is: of what was reclaimed here all, of others what stays one for long."""
        is_ours, now = self._is_ours, time.monotonic()
        orphans = await self._ledger.orphans(AT_ONCE)
        seen = {(orphan.id, orphan.generation): orphan for orphan in orphans}
        self._tries = {key: self._tries.get(key) or _Tries(0, now if is_ours else now + LOOK) for key in seen}
        due = [seen[key] for key, tries in self._tries.items() if tries.next_at <= now]
        over: list[Copy] = []
        for orphan in await self._published(due):
            key = (orphan.id, orphan.generation)
            count = self._tries[key].times + 1
            if count > len(PAUSES) or orphan.due_ms:  # that was given to nobody
                over.append(orphan)
                del self._tries[key]
            else:
                self._tries[key] = _Tries(count, now + PAUSES[count - 1])
        if over:
            await self._ledger.placed(over)
        self._is_ours = self._is_ours and self._wanted.is_set()

    async def _published(self, orphans: Sequence[Copy]) -> list[Copy]:
        parcels = list(map(self._parcel, orphans))
        refusals = await self._sending.send(parcels)
        return [orphan for orphan, refusal in zip(orphans, refusals, strict=True) if refusal is None]

    def _parcel(self, orphan: Copy) -> Parcel:
        facts = facts_of(orphan)
        if orphan.due_ms:
            envelope = Envelope(orphan.id, orphan.queue, orphan.body, orphan.priority, orphan.due_ms)
            return self._sending.call(envelope, facts=facts)
        return self._sending.returned(orphan, facts=facts)
