"""The releaser: hands back what dead workers held."""

import asyncio
import logging
from collections.abc import Sequence
from random import Random

from asyncq.backoff import Backoff
from asyncq.broker import Broker
from asyncq.errors import BrokerUnavailable

logger = logging.getLogger("asyncq.worker")

_AGAIN = Backoff(delay=0.2, max_delay=5.0)


class Releaser:
    """Releases those of whom it is told, trying until the server has answered.

    Args:
        broker: the broker.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._names: list[str] = []
        self._asked = asyncio.Event()
        self._random = Random()

    def release(self, names: Sequence[str]) -> None:
        """Release these as well. On the loop's thread."""
        self._names.extend(names)
        self._asked.set()

    async def run(self) -> None:
        """Release until cancelled."""
        failures = 0
        while True:
            await self._asked.wait()
            self._asked.clear()
            names, self._names = self._names, []
            try:
                count = await (await self._broker.open()).transport.release(names)
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))
                self.release(names)
            else:
                failures = 0
                logger.warning("Worker %s has died; %d of its tasks run again.", ", ".join(names), count)
