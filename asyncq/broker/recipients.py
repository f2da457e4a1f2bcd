"""The recipients: who waits in a process for ends that are told once and kept nowhere."""

import asyncio
from collections.abc import Sequence

from asyncq.broker.audience import Audience, not_ended
from asyncq.broker.letterbox import LOST, Letterbox
from asyncq.broker.subscription import Subscription
from asyncq.errors import AsyncqError, BrokerUnavailable, ResultMissing
from asyncq.result import Record
from asyncq.store import Listener, Notice
from asyncq.tasks.calls import Waiting
from asyncq.transport import Capabilities


class Recipients(Audience):
    """Waits for what this process has published, and is told of it or never. Nothing is looked up: nobody remembers.

    Args:
        subscription: what tells.
        letterbox: knows what was published here.
        capabilities: of the transport, for the error of who needs a memory.
    """

    def __init__(self, subscription: Subscription, letterbox: Letterbox, capabilities: Capabilities) -> None:
        super().__init__()
        self._subscription = subscription
        self._letterbox = letterbox
        self._capabilities = capabilities
        subscription.add(Listener(self._take_notices, self._give_up))

    def expect(self, waiting: Waiting) -> None:
        self._letterbox.expect(waiting)

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        if waiting.record is None and not waiting.is_told:
            raise self._untold(waiting)
        return await super().wait(waiting, timeout=timeout, wait_for_publish=wait_for_publish)

    def close(self) -> None:
        self._waits.fail(BrokerUnavailable, "The broker was closed while a result was waited for.")
        self._letterbox.close()

    async def _begin(self) -> None:
        await self._subscription.listen()
        self._is_running = True

    async def _record_now(self, waiting: Waiting) -> Record:
        raise not_ended(waiting.id) if waiting.is_told else self._untold(waiting)

    async def _told(
        self, waiting: Waiting, future: "asyncio.Future[bytes | None]", wait_for_publish: float
    ) -> bytes | None:
        if waiting.record is not None:
            return waiting.record
        if not waiting.is_told:  # the listening that has just begun has shown that
            raise self._untold(waiting)
        return await future

    def _untold(self, waiting: Waiting) -> AsyncqError:
        why = self._letterbox.why_in_vain(waiting)
        if why:
            return ResultMissing(f"No result of call {waiting.id!r}: {why}.")
        return self._capabilities.without_memory(f"The result of call {waiting.id!r}, which was not published here")

    def _take_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.is_over:
                self._letterbox.take(notice.id, notice.record)
                self._waits.resolve(notice.id, notice.record)

    def _give_up(self) -> None:
        """Let nobody wait for what may have been told in vain."""
        if not self._subscription.address:  # it begins to listen, and finds no reply queue from before
            self._letterbox.lose_earlier()
            return
        self._waits.fail(ResultMissing, f"No result of the call: {LOST}.")
        self._letterbox.lose_all()
