"""The link: one connection that is opened when it is needed, and again after it broke."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from redis.exceptions import ResponseError

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable
from asyncq.redis.server import (
    FAULTS,
    TIME,
    Command,
    Plan,
    Reply,
    Server,
    Wire,
    is_passing,
    is_unknown_script,
    milliseconds,
)

_AGAIN = Backoff(delay=0.05, max_delay=0.5)


class Link:
    """A connection of an event loop. Calls queue up for it; each is one write and one read, whatever it holds."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._wire: Wire | None = None
        self._turn = asyncio.Lock()
        self._random = Random()
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        """Whether it is open, as far as is known; that one broke in silence is found out by the next call."""
        return self._wire is not None

    async def call(
        self,
        commands: Sequence[Command],
        *,
        wanted: str,
        again: Callable[[], Sequence[Command]] | None = None,
        keeps_errors: bool = False,
    ) -> list[Reply]:
        """Send commands until they are answered, for as long as a command may take.

        Args:
            commands: must do no harm when they are sent twice.
            wanted: what for, to say so in an error: "publish".
            again: returns what to send in their place when they may have been sent already.
            keeps_errors: what the server refuses is returned as an error among the replies.

        Raises:
            BrokerUnavailable: they were not answered, or refused.
        """
        error: BaseException | None = None
        failures = 0
        try:
            async with asyncio.timeout(self._server.command_timeout), self._turn:
                while True:
                    try:
                        replies = await self._talk(commands)
                    except BrokerUnavailable:
                        raise
                    except FAULTS as fault:
                        error = fault
                        if not is_passing(fault):
                            break
                    else:
                        if not keeps_errors:
                            self._server.check(replies, wanted)
                        return replies
                    failures += 1
                    commands = again() if again is not None else commands
                    await asyncio.sleep(_AGAIN.seconds(failures, self._random))
        except TimeoutError as fault:
            error = error or fault
        raise self._server.unavailable(wanted, error, seconds=self._server.command_timeout) from error

    async def attempt(
        self, commands: Sequence[Command], *, wanted: str, seconds: float, keeps_errors: bool = False
    ) -> list[Reply]:
        """Send commands once. Raises BrokerUnavailable when they are not answered in so many seconds, or refused."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                replies = await self._talk(commands)
        except BrokerUnavailable:
            raise
        except FAULTS as error:
            raise self._server.unavailable(wanted, error) from error
        if not keeps_errors:
            self._server.check(replies, wanted)
        return replies

    async def follow(self, plan: Plan, *, wanted: str) -> Any:
        """Take the steps of a plan; each does no harm when it is taken twice."""
        try:
            commands = next(plan)
            while True:
                replies = await self.call(commands, wanted=wanted) if commands else []
                commands = plan.send(replies)
        except StopIteration as end:
            return end.value

    async def close(self) -> None:
        """Disconnect for good."""
        self._is_closed = True
        await self._drop()

    async def _talk(self, commands: Sequence[Command]) -> list[Reply]:
        try:
            wire = self._wire or await self._connect()
            replies = await self._exchange(wire, commands)
            if any(map(is_unknown_script, replies)):
                await self._teach(wire, self._server.repeat_unknown(commands, replies))
        except BaseException:
            await self._drop()  # replies may still be on their way: nobody may take them for others
            raise
        return replies

    async def _teach(self, wire: Wire, plan: Plan) -> None:
        try:
            commands = next(plan)
            while True:
                commands = plan.send(await self._exchange(wire, commands))
        except StopIteration:
            return

    async def _connect(self) -> Wire:
        if self._is_closed:
            raise BrokerUnavailable(f"The connection to Redis at {self._server.address} is closed.")
        wire = self._wire = self._server.connection()
        await wire.connect()
        replies = await self._exchange(wire, [TIME])
        self._server.check(replies, "tell the time")
        self._server.clock.set(milliseconds(replies[0]))
        return wire

    async def _exchange(self, wire: Wire, commands: Sequence[Command]) -> list[Reply]:
        await self._server.send(wire, commands)
        return [await _read(wire) for _ in commands]

    async def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.disconnect(nowait=True)


async def _read(wire: Wire) -> Reply:
    """Return a reply, or what the server has against the command."""
    try:
        return await wire.read_response()
    except ResponseError as error:
        if is_passing(error):
            raise
        return error
