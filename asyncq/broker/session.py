"""The session: what of a broker lives on one event loop, from its opening to its closing."""

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from asyncq.broker.batcher import Batcher
from asyncq.broker.cancelling import Cancelling
from asyncq.broker.ending import Keeping
from asyncq.broker.expiring import Expiring
from asyncq.broker.followers import Followers
from asyncq.broker.letterbox import Letterbox
from asyncq.broker.recipients import Recipients
from asyncq.broker.rescheduling import Rescheduling
from asyncq.broker.subscription import Subscription
from asyncq.broker.waiters import Waiters
from asyncq.errors import BrokerUnavailable
from asyncq.limits import LimitId, Numbers
from asyncq.store import Store
from asyncq.transport import Envelope, Receipt, Transport

logger = logging.getLogger("asyncq.broker")


class Session:
    """Transport and store, opened on the running loop, and the doers that belong to them.

    One owner task enters the task group and leaves it, whichever task opens the session and whichever closes it.

    Args:
        transport, store: not opened.
        keeping: whose results they are.
        letterbox: where ends are told, on a transport without a memory.

    Attributes:
        loop, pid: where it lives.
        transport, store: as they were given.
        publisher: takes what is to be published.
        subscription, waiters, followers: how calls are looked at, waited for and followed.
        expiring, cancelling: how calls end that no worker ends.
        rescheduling: how calls that wait get another time.
        limits_declared: how many of the broker's limits the transport was told of.
    """

    def __init__(
        self, transport: Transport, store: Store, keeping: Keeping, letterbox: Letterbox | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self.transport = transport
        self.store = store
        self.publisher = Batcher[Envelope, Receipt](transport.publish if letterbox is None else self._publish_listening)
        self.subscription = Subscription(store, self.start)
        self.expiring = Expiring(transport, keeping)
        self.cancelling = Cancelling(transport, self.subscription.look, keeping)
        self.rescheduling = Rescheduling(transport, self.subscription.look)
        self.waiters = (
            Waiters(self.subscription, self.expiring, transport.now_ms, self.start)
            if letterbox is None
            else Recipients(self.subscription, letterbox, transport.capabilities)
        )
        self.followers = Followers(self.subscription, self.expiring, transport.now_ms)
        self.limits_declared = 0
        self._declaring = asyncio.Lock()
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self._doers: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._owner: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be used: opened, and not closed or broken since."""
        return self._group is not None and not self._closing.is_set()

    @property
    def is_usable(self) -> bool:
        """Whether it is open, or opening."""
        return not self._closing.is_set()

    async def open(self) -> None:
        """Connect; concurrent callers wait for the same attempt. Raises BrokerUnavailable."""
        if self._owner is None:
            self._owner = self.loop.create_task(self._own(), name="asyncq-session")
            self._owner.add_done_callback(self._left)
        await asyncio.shield(self._opened)  # a caller that gives up must not take the others down

    async def close(self) -> None:
        """Disconnect, and wait until everything has ended. Raises what broke the session, if something did."""
        self._closing.set()
        if self._owner is not None:
            if not self._opened.done():
                self._owner.cancel()  # nobody waits any more for a server that does not answer
            await asyncio.wait([self._owner])
            if not self._owner.cancelled():
                self._owner.result()

    async def broken(self) -> BaseException | None:
        """Wait until it has ended; return what broke it."""
        if self._owner is None:
            return None
        await asyncio.wait([self._owner])
        return None if self._owner.cancelled() else self._owner.exception()

    async def declare(self, limits: Mapping[LimitId, Numbers]) -> None:
        """Say what limits allow of which nobody has said anything: a call must not wait for a worker to say it."""
        async with self._declaring:  # the first calls of a process come together: one of them says it
            count = len(limits)
            if self.limits_declared < count:
                await self.transport.declare_limits(dict(limits))
                self.limits_declared = count

    def start(self, doer: Coroutine[Any, Any, None]) -> None:
        """Run a doer until the session closes."""
        if self._group is None or self._closing.is_set():
            doer.close()
            raise BrokerUnavailable("The broker is closed.")
        self._doers.append(self._group.create_task(doer))

    async def _own(self) -> None:
        try:
            await self._connect()
        except BaseException as error:
            self._closing.set()
            await self._disconnect()
            if not isinstance(error, Exception):
                raise
            self._fail_opening(error)
            return
        try:
            await self._serve()
        finally:
            self._closing.set()
            self._group = None
            self.waiters.close()
            self.followers.wake()
            await self._disconnect()

    def _left(self, owner: asyncio.Task[None]) -> None:
        """Say what broke the session; tell who still waits for the opening, if its owner never took a step."""
        if not owner.cancelled() and (fault := owner.exception()) is not None:
            logger.error("The broker's connection broke by a fault; the next use opens it again.", exc_info=fault)
        self._fail_opening(BrokerUnavailable("The broker was closed while it was being opened."))

    def _fail_opening(self, error: Exception) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # seen, even if nobody waits any more

    async def _publish_listening(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Publish what is told once only, and so not before somebody hears it."""
        await self.subscription.listen()
        return await self.transport.publish(envelopes)

    async def _connect(self) -> None:
        await self.store.open()
        await self.transport.open()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._doers.append(group.create_task(self.publisher.run()))
            self._opened.set_result(None)
            await self._closing.wait()
            for doer in self._doers:
                doer.cancel()

    async def _disconnect(self) -> None:
        for close in (self.transport.close, self.store.close):
            with suppress(BrokerUnavailable):
                await close()
