"""The joiner: makes a worker a consumer of its broker, however long the server takes to be there."""

import asyncio
import logging
from collections.abc import Sequence
from random import Random

from asyncq.backoff import Backoff
from asyncq.broker import Broker
from asyncq.errors import BrokerUnavailable
from asyncq.transport import Consumer

logger = logging.getLogger("asyncq.worker")

JOIN_SECONDS = 0.5
"""How long a worker that is stopped while it joins waits for the answer."""

_AGAIN = Backoff(delay=0.2, max_delay=5.0)


class Joiner:
    """Joins for one worker, each time under another name.

    Args:
        broker: the broker.
        name: the worker's.
        queues: which are consumed.
        lease: seconds after which others take it for dead.
        fail_fast: raise when the server cannot be reached, instead of trying on.
    """

    def __init__(self, broker: Broker, name: str, queues: Sequence[str], *, lease: float, fail_fast: bool) -> None:
        self._broker = broker
        self._name = name
        self._queues = queues
        self._lease = lease
        self._fail_fast = fail_fast
        self._memberships = 0
        self._random = Random()

    async def joined(self, stopped: asyncio.Event) -> Consumer | None:
        """Join as a consumer, trying until the server is there; None when stopped first."""
        failures = 0
        while not stopped.is_set():
            async with asyncio.TaskGroup() as group:
                ordered = group.create_task(stopped.wait())
                joining = group.create_task(self._join())
                await asyncio.wait((ordered, joining), return_when=asyncio.FIRST_COMPLETED)
                if not joining.done():  # who has joined has to leave: the order came while the server was being asked
                    await asyncio.wait([joining], timeout=JOIN_SECONDS)
                if joining.done() and isinstance(error := joining.result(), BrokerUnavailable):
                    failures += 1
                    delay = _AGAIN.seconds(failures, self._random)
                    logger.warning("%s Trying again in %.1f s.", error, delay)
                    await asyncio.wait([ordered], timeout=delay)
                joining.cancel()
                ordered.cancel()
            if not joining.cancelled() and isinstance(consumer := joining.result(), Consumer):
                return consumer
        return None

    async def _join(self) -> Consumer | BrokerUnavailable:
        """Try to join under a name that was never used; return the error where trying again may help."""
        self._memberships += 1
        name = f"{self._name}.{self._memberships}"
        try:
            transport = (await self._broker.open()).transport
            if self._broker.limits:
                await transport.limits().declare(self._broker.limits)
            return await transport.consumer(name, self._queues, lease=self._lease)
        except BrokerUnavailable as error:
            if self._fail_fast:
                raise
            return error
