"""Notices: what is told to a process, and the subscription that brings it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random

from asyncq.redis.connecting import connect
from asyncq.redis.faults import FAULTS, is_passing, pauses
from asyncq.redis.server import Reply, Server
from asyncq.redis.topology import Node
from asyncq.redis.wires import Wire
from asyncq.store import Notice
from asyncq.timeouts import AnswerTimeout

logger = logging.getLogger("asyncq.redis")

_ENDED, _RECORD, _PROGRESS = 0, 1, 2


class Subscription:
    """A connection on which one channel is listened to, opened again whenever it breaks.

    Args:
        server: where to subscribe.
        address: the channel.
        silence: seconds without a message after which the server is asked whether it is there; when it says nothing for
            as long again, it is not.
    """

    def __init__(self, server: Server, address: str, *, silence: float) -> None:
        self.address = address
        self._silence = silence
        self._server = server
        self._wire: Wire | None = None
        self._node: Node | None = None
        self._era = 0

    async def open(self) -> None:
        """Subscribe, trying for as long as a command may take; on return it is confirmed. Raises BrokerUnavailable."""
        random, failures = Random(), 0
        error: BaseException | None = None
        try:
            async with AnswerTimeout(self._server.command_timeout):
                while True:
                    try:
                        await self._subscribe()
                    except FAULTS as fault:
                        if not is_passing(fault):
                            raise self._server.refused("subscribe", fault) from fault
                        error, failures = fault, failures + 1
                        await asyncio.sleep(pauses(fault).seconds(failures, random))
                    else:
                        return
        except TimeoutError as fault:
            error = error or fault
        raise self._server.unavailable("subscribe", error, seconds=self._server.command_timeout) from error

    async def run(self, take: Callable[[bytes], None], catch_up: Callable[[], Awaitable[None]]) -> None:
        """Listen until cancelled.

        Args:
            take: called with each message.
            catch_up: called when messages may have been missed, once those that follow arrive; it may raise
                BrokerUnavailable, and is then called again.
        """
        random, failures, is_refusal_told = Random(), 0, False
        while True:
            try:
                wire = self._wire
                if wire is None:
                    wire = await self._subscribe()
                    await catch_up()
                failures, is_refusal_told = 0, False
                await self._listen(wire, take)
                await self.close()
            except FAULTS as error:
                if self._wire is not None and self._node is not None:
                    self._server.heed(error, self._node)
                await self.close()
                if not (is_refusal_told or is_passing(error)):
                    is_refusal_told = True
                    logger.warning("%s Trying again.", self._server.refused("subscribe", error))
                failures += 1
                await asyncio.sleep(pauses(error).seconds(failures, random))

    async def close(self) -> None:
        """Disconnect."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.disconnect(nowait=True)

    async def _subscribe(self) -> Wire:
        try:
            async with asyncio.timeout(self._server.connect_timeout):
                wire, found = await connect(self._server)
                self._wire, self._node, self._era = wire, found.node, found.era
                await self._server.send(wire, [("SUBSCRIBE", self.address)])
                await wire.read_response()
        except BaseException:
            await self.close()
            raise
        return wire

    async def _listen(self, wire: Wire, take: Callable[[bytes], None]) -> None:
        """Listen until other connections had to be opened anew, which is no fault of this one."""
        is_asked = False
        while True:
            reply: Reply = await wire.read_response(timeout=self._silence, disconnect_on_error=False)
            if reply is None:
                if is_asked:
                    raise TimeoutError("The server is silent.")
                if self._era != self._server.era:
                    return
                await self._server.send(wire, [("PING",)])
            elif reply[0] == b"message":
                take(reply[2])
            is_asked = reply is None


def unpack_notices(data: bytes) -> list[Notice]:
    """Return the notices of one message; scripts/ending.lua says how they are packed."""
    head, _, rest = data.partition(b"\n")
    numbers = list(map(int, head.split()))
    notices: list[Notice] = []
    start = 0
    for id_size, kind, size in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        middle = start + id_size
        id, start = rest[start:middle].decode(), middle + size
        payload = rest[middle:start]
        if kind == _RECORD:
            notices.append(Notice(id, payload, None, True))
        elif kind == _ENDED:
            notices.append(Notice(id, None, None, True))
        elif kind == _PROGRESS:
            notices.append(Notice(id, None, payload, False))
    return notices
