"""The link: one connection that is opened when it is needed, and again after it broke."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from asyncq.errors import BrokerUnavailable
from asyncq.redis.connecting import connect, exchange
from asyncq.redis.faults import FAULTS, has_unknown_script, is_passing, pauses
from asyncq.redis.server import Command, Plan, Reply, Server
from asyncq.redis.topology import Node
from asyncq.redis.wires import Wire
from asyncq.timeouts import AnswerTimeout


class Link:
    """A connection of an event loop. Calls queue up for it; each is one write and one read, whatever it holds.

    Attributes:
        connections: how many there have been.
    """

    def __init__(self, server: Server) -> None:
        self.connections = 0
        self._server = server
        self._wire: Wire | None = None
        self._node: Node | None = None
        self._era = 0
        self._is_cut = False
        self._turn = asyncio.Lock()
        self._random = Random()
        self._is_closed = False

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
            ConfigurationError: the server's connections belong to another event loop.
        """
        self._server.check_loop()
        error: BaseException | None = None
        failures = 0
        try:
            async with AnswerTimeout(self._server.command_timeout) as scope, self._turn:
                while True:
                    try:
                        replies = await self._talk(commands, scope)
                    except BrokerUnavailable:
                        raise
                    except FAULTS as fault:
                        if not is_passing(fault):
                            raise self._server.refused(wanted, fault) from fault
                        error = fault
                    else:
                        if not keeps_errors:
                            self._server.check(replies, wanted)
                        return replies
                    failures += 1
                    commands = again() if again is not None else commands
                    await asyncio.sleep(pauses(error).seconds(failures, self._random))
        except TimeoutError as fault:
            error = error or fault
        raise self._server.unavailable(wanted, error, seconds=self._server.command_timeout) from error

    async def attempt(
        self,
        commands: Sequence[Command],
        *,
        wanted: str,
        seconds: float,
        keeps_errors: bool = False,
        waits: bool = False,
    ) -> list[Reply]:
        """Send commands once.

        Args:
            commands: to send.
            wanted: what for.
            seconds: may be long for those that wait, which end before that when other connections had to be renewed.
            keeps_errors: what the server refuses is returned as an error among the replies.
            waits: whether they do.

        Raises:
            BrokerUnavailable: they were not answered in so many seconds, or refused.
            ConfigurationError: the server's connections belong to another event loop.
        """
        self._server.check_loop()
        try:
            async with AnswerTimeout(seconds) as scope, self._turn:
                if waits:
                    with _Watch(self, self._server, scope):
                        replies = await self._talk(commands, scope)
                else:
                    replies = await self._talk(commands, scope)
        except BrokerUnavailable:
            raise
        except FAULTS as fault:
            error = RedisConnectionError("Another connection of this process had broken.") if self._is_cut else fault
            self._is_cut = False
            raise self._server.failed(wanted, error) from fault
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
        await self.disconnect()

    async def disconnect(self) -> None:
        """Disconnect; the next call connects again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.disconnect(nowait=True)

    def cut(self, scope: AnswerTimeout) -> None:
        """End a wait over a connection of an era that is over."""
        if not self._is_cut and self._wire is not None and self._era != self._server.era:
            self._is_cut = True
            scope.expire()

    async def _talk(self, commands: Sequence[Command], scope: AnswerTimeout) -> list[Reply]:
        try:
            if self._era != self._server.era:
                await self.disconnect()
            wire = self._wire or await self._connect()
            replies = await exchange(self._server, wire, commands)
            if has_unknown_script(replies):
                await self._teach(wire, self._server.repeat_unknown(commands, replies))
        except BaseException as error:
            if self._wire is not None and self._node is not None and not self._is_cut:
                if isinstance(error, asyncio.CancelledError) and not scope.expired():
                    self._server.topology.doubt(self._node)  # the caller has lost patience: other connections are fine
                else:
                    self._server.heed(error, self._node)
            await self.disconnect()  # replies may still be on their way: nobody may take them for others
            raise
        return replies

    async def _teach(self, wire: Wire, plan: Plan) -> None:
        try:
            commands = next(plan)
            while True:
                commands = plan.send(await exchange(self._server, wire, commands))
        except StopIteration:
            return

    async def _connect(self) -> Wire:
        self._check_open()
        wire, found = await connect(self._server)
        self._wire, self._node = wire, found.node
        self.connections += 1
        self._era, self._is_cut = found.era, False
        self._check_open()
        self._server.clock.set(found.now_ms)
        return wire

    def _check_open(self) -> None:
        if self._is_closed:
            raise BrokerUnavailable(f"The connection to Redis at {self._server.address} is closed.")


class _Watch:
    """Cuts a link while it waits. A class, for there is one for each fetch of an idle worker."""

    __slots__ = ("_is_over", "_link", "_loop", "_scope", "_server")

    def __init__(self, link: Link, server: Server, scope: AnswerTimeout) -> None:
        self._link = link
        self._server = server
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._is_over = False

    def __enter__(self) -> None:
        self._server.watch(self._told)

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._server.unwatch(self._told)

    def _told(self) -> None:
        """Cut it; called in any thread."""
        with suppress(RuntimeError):  # the loop was closed: nobody waits
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        if not self._is_over:
            self._link.cut(self._scope)
