"""The placing: what a consumer held that was taken for dead is published again."""

import asyncio
from contextlib import suppress
from random import Random

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Ledger
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.wire import Facts

AT_ONCE = 500
LOOK = 30.0
"""Seconds between looks for what a reclaimer has left that died before it had published it."""

_AGAIN = Backoff(delay=0.1, max_delay=5.0)


class Placing:
    """Gives orphans to the server. What has two copies then is told from the ledger.

    Args:
        ledger: who knows of them.
        sending: what publishes.
    """

    def __init__(self, ledger: Ledger, sending: Sending) -> None:
        self._ledger = ledger
        self._sending = sending
        self._wanted = asyncio.Event()
        self._random = Random()

    def wake(self) -> None:
        """Look soon: something was reclaimed."""
        self._wanted.set()

    async def place(self) -> None:
        """Publish all there are. Raises BrokerUnavailable."""
        while orphans := await self._ledger.orphans(AT_ONCE):
            parcels = [self._sending.returned(copy, facts=Facts(generation=copy.generation)) for copy in orphans]
            refusals = await self._sending.send(parcels)
            placed = [copy for copy, refusal in zip(orphans, refusals, strict=True) if refusal is None]
            await self._ledger.placed(placed)
            if len(placed) < AT_ONCE:  # what was refused is looked at again later
                return

    async def run(self) -> None:
        """Place what is reclaimed here, and now and then what others have left, until cancelled."""
        failures = 0
        while True:
            try:
                await self.place()
                failures = 0
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wanted.wait()
            self._wanted.clear()
