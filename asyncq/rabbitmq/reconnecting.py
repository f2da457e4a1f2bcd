"""The reconnecting: there is a connection whenever there can be one, and others wait for it."""

import asyncio
import logging
from collections.abc import Sequence
from random import Random

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.connection import Connection, connect
from asyncq.rabbitmq.faults import pauses
from asyncq.rabbitmq.urls import Target

logger = logging.getLogger("asyncq.rabbitmq")

SETTLED = 10.0
"""Seconds after which a connection counts as a good one: a server that drops them at once is given pauses."""


class Outage:
    """Says once that connections of a process are lost, however many, and once that all of them are back."""

    def __init__(self) -> None:
        self._lost: set[object] = set()

    @property
    def is_on(self) -> bool:
        """Whether some connection is lost just now."""
        return bool(self._lost)

    def lost(self, who: object, fault: BrokerUnavailable) -> None:
        """Take note that a connection has ended that will be replaced."""
        if not self._lost:
            logger.warning("%s Connecting again.", fault)
        self._lost.add(who)

    def back(self, who: object, address: str) -> None:
        """Take note of a connection; if it is the last that was missed, say so."""
        if who in self._lost:
            self._lost.discard(who)
            if not self._lost:
                logger.info("Connected to RabbitMQ at %s again.", address)


class Reconnecting:
    """Keeps a connection to whichever node answers, while it runs. It belongs to one event loop.

    Args:
        targets: the nodes, in the order in which they are tried.
        purpose: what the connection is for, as the server shows it.
        connect_timeout: seconds that one try may take, over all nodes.
        outage: who says that the connection is lost, for this one and others; None: it is said of this one alone.

    Attributes:
        address: of the nodes, without secrets.
        connections: how many there have been.
        fault: why there is none; None: there is one, or the first try is under way.
    """

    def __init__(
        self, targets: Sequence[Target], *, purpose: str, connect_timeout: float, outage: Outage | None = None
    ) -> None:
        self.address = ", ".join(target.name for target in targets)
        self.connections = 0
        self.fault: BrokerUnavailable | ConfigurationError | None = None
        self._targets = targets
        self._purpose = purpose
        self._connect_timeout = connect_timeout
        self._outage = outage or Outage()
        self._random = Random()
        self._loop = asyncio.get_running_loop()
        self._try: asyncio.Future[Connection] = self._loop.create_future()
        self._is_closed = False

    async def run(self) -> None:
        """Connect, and again whenever the connection has ended, until cancelled; it is closed then."""
        failures = 0
        try:
            while True:
                begun = self._loop.time()
                fault = await self._live()
                failures = 1 if self._loop.time() - begun > SETTLED else failures + 1
                await asyncio.sleep(pauses(fault).seconds(failures, self._random))
        finally:
            self._is_closed = True
            self._fail(self._closed_error())

    async def open(self) -> Connection:
        """Return the connection, or what comes of the try that is under way: raises what stood in its way."""
        return await asyncio.shield(self._try)  # a caller that gives up must not take the others down

    async def connection(self, *, seconds: float) -> Connection:
        """Return a connection that is usable, as soon as there is one.

        Raises:
            BrokerUnavailable: there was none in so many seconds.
            ConfigurationError: the servers have something against us; they are asked again, but waiting is no use.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._is_closed:
                    try:
                        connection = await self.open()
                    except BrokerUnavailable:
                        continue
                    if not connection.ended.is_set():
                        return connection
                    self._renew()  # it has ended in this turn, and `run` has not come to know it yet
        except TimeoutError:
            said = f" {self.fault}" if self.fault is not None else ""
            raise BrokerUnavailable(f"RabbitMQ at {self.address} does not answer.{said}") from self.fault
        raise self._closed_error()

    async def _live(self) -> BrokerUnavailable | ConfigurationError:
        """Live through one connection, or try to, and return what ended it."""
        try:
            connection = await connect(self._targets, self._purpose, seconds=self._connect_timeout)
        except (BrokerUnavailable, ConfigurationError) as fault:
            self._fail(fault)
            return fault
        self.connections += 1
        self._outage.back(self, connection.address)
        self.fault = None
        try:
            self._try.set_result(connection)
            await connection.ended.wait()
        finally:
            self._renew()
            self.fault = connection.fault
            await connection.close()
        self._outage.lost(self, self.fault)
        return self.fault

    def _renew(self) -> None:
        """Let whoever asks from now on wait for the next connection."""
        if self._try.done():
            self._try = self._loop.create_future()

    def _fail(self, fault: BrokerUnavailable | ConfigurationError) -> None:
        """Tell those who wait for this try; others will wait for the next one."""
        self.fault = fault
        failed, self._try = self._try, self._loop.create_future()
        failed.set_exception(fault)
        failed.exception()  # seen, even if nobody waits
        if self._is_closed:
            self._try = failed

    def _closed_error(self) -> BrokerUnavailable:
        return BrokerUnavailable(f"The connection to RabbitMQ at {self.address} is closed.")
