"""The connection: one to any of several nodes, opened in time, and told when it ends."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, cast

import aiormq
from aiormq.abc import AbstractChannel
from yarl import URL

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.cancelling import cancellable, is_foreign_cancellation
from asyncq.rabbitmq.faults import FAULTS, explained, is_wrong, mapped
from asyncq.rabbitmq.quiet import quiet
from asyncq.rabbitmq.server import Server
from asyncq.rabbitmq.streams import Streams, open_streams
from asyncq.rabbitmq.tasks import NotingLoop
from asyncq.rabbitmq.urls import Target
from asyncq.timeouts import AnswerTimeout

logger = logging.getLogger("asyncq.rabbitmq")

FRAMES = 100
"""How many frames are read before a channel's own reader looks at them: some 2 ms of the loop's time."""
CLOSE_TIMEOUT = 1.0
"""Seconds in which the server may say goodbye, too. It loses nothing if it does not."""


class Connection:
    """A connection of one event loop, until it ends. It never comes back: see `Reconnecting`.

    Attributes:
        address: of the node that it leads to, without secrets.
        writer: its stream. Frames that are written there whole stand among those of aiormq.
        takers: by number of the channel, what takes frames that are not for aiormq.
        ended: set when it can't be used any more.
    """

    def __init__(self, target: Target, purpose: str, streams: Streams) -> None:
        self.address = target.name
        self.writer = streams.writer
        self.takers = streams.inbound.takers
        self.ended = asyncio.Event()
        self._loop = NotingLoop(asyncio.get_running_loop())
        # Any: its decorators leave little of its types.
        self._amqp: Any = aiormq.Connection(
            _amqp_url(target),
            loop=cast(asyncio.AbstractEventLoop, self._loop),
            client_properties={"connection_name": _name(purpose)},
            transport_factory=streams,
        )
        self._amqp.vhost = target.vhost  # from a URL it could not have every name
        self._streams = streams
        self._fault: BaseException | None = None
        self._is_block_told = False

    @property
    def server(self) -> Server:
        """What the other side says that it is."""
        said = self._amqp.server_properties
        return Server(str(said.get("product", "")), str(said.get("version", "")))

    @classmethod
    async def connect(cls, target: Target, purpose: str) -> Self:
        """Connect to one node; cancel it when it takes too long. Raises one of FAULTS, or ConfigurationError.

        Args:
            target: the node.
            purpose: what the connection is for. The server shows it, with our host and process.
        """
        connection = cls(target, purpose, await open_streams(target))
        await connection._open()
        return connection

    @property
    def fault(self) -> BrokerUnavailable:
        """Why it has ended."""
        fault = self._fault
        said = "" if fault is None or isinstance(fault, asyncio.CancelledError) else f" {explained(fault).rstrip('.')}."
        error = BrokerUnavailable(f"The connection to RabbitMQ at {self.address} has ended.{said}")
        error.__cause__ = fault
        return error

    @property
    def is_blocked(self) -> bool:
        """Whether the server takes nothing more from this connection: it is short of memory or of disk.

        It is told so only after it has published something.
        """
        waiting = self._amqp.ready()  # aiormq has no other way to ask: this takes a step, which ends at once or waits
        try:
            waiting.send(None)
        except StopIteration:
            return False
        finally:
            waiting.close()
        return True

    async def unblocked(self) -> None:
        """Wait until the server takes something again, or the connection ends. That is in the log once."""
        if not self.is_blocked:
            return
        if not self._is_block_told:
            self._is_block_told = True
            logger.warning("RabbitMQ at %s takes no messages: it is short of memory or of disk.", self.address)
        waits = {asyncio.create_task(self._amqp.ready()), asyncio.create_task(self.ended.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
        if self._is_block_told and not self.ended.is_set():
            self._is_block_told = False
            logger.info("RabbitMQ at %s takes messages again.", self.address)

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel. Where that fails, or is cancelled, the connection is given up: it may be stuck.

        Args:
            confirms: whether the server confirms what is published there.

        Raises:
            BrokerUnavailable: the connection has ended.
        """
        if self.ended.is_set():
            raise self.fault
        try:
            with quiet(), cancellable():
                return await self._amqp.channel(publisher_confirms=confirms, frame_buffer_size=FRAMES)
        except BaseException as error:
            is_fault = isinstance(error, (*FAULTS, RuntimeError)) or is_foreign_cancellation(error)
            self.abort(error if is_fault else None)
            if is_fault:
                raise self.fault from error
            raise

    def abort(self, fault: BaseException | None = None) -> None:
        """End it at once, with nothing more said to the server. `close` waits until all of it is gone.

        Args:
            fault: why.
        """
        self._end(fault)
        self._streams.abort()

    async def close(self) -> None:
        """End it, in order if the server plays along. Nothing of it runs afterwards, even if this is cancelled."""
        try:
            with cancellable():
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._amqp.close(aiormq.ConnectionClosed(0, "closed here"))
        except TimeoutError:
            pass
        finally:
            self.abort()
            await self._loop.finish()

    async def _open(self) -> None:
        try:
            with quiet():
                await self._amqp.connect()
        except BaseException as error:
            self.abort()
            await self._loop.finish()
            if isinstance(error, FAULTS) and (refusal := self._streams.refusal()) is not None:
                raise refusal from error
            # RuntimeError is what uvloop says of a stream that has ended.
            if is_foreign_cancellation(error) or isinstance(error, RuntimeError):
                raise ConnectionResetError("It ended while it was being opened.") from error
            raise
        try:
            self.server.check()
        except ConfigurationError:
            await self.close()
            raise
        self._streams.opened()
        self._amqp.closing.add_done_callback(self._closed)

    def _closed(self, closing: "asyncio.Future[Any]") -> None:
        self._end(None if closing.cancelled() else closing.exception())

    def _end(self, fault: BaseException | None) -> None:
        if not self.ended.is_set():
            self._fault = fault
            self.ended.set()


async def connect(targets: Sequence[Target], purpose: str, *, seconds: float) -> Connection:
    """Return a connection to the first node that answers; each gets its share of the time that is left.

    Raises:
        BrokerUnavailable: none does. The message says who was tried, and what came of it.
        ConfigurationError: the same, where no repetition will help.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    faults: list[BaseException] = []
    told: list[str] = []
    for number, target in enumerate(targets):
        share = (deadline - loop.time()) / (len(targets) - number)
        try:
            async with asyncio.timeout(share):
                return await Connection.connect(target, purpose)
        except (*FAULTS, ConfigurationError) as fault:
            faults.append(fault)
            what = f"no answer within {share:.1f} s" if isinstance(fault, TimeoutError) else explained(fault)
            told.append(f"{target.name}: {what}")
    kind = ConfigurationError if all(map(is_wrong, faults)) else BrokerUnavailable
    raise kind(f"No connection to RabbitMQ. Tried {'; '.join(told).rstrip('.')}.") from faults[0]


@asynccontextmanager
async def asking(wanted: str, address: str, *, seconds: float) -> AsyncGenerator[None]:
    """Raise in the place of what aiormq raises in this block, or of its time being up, an error of ours.

    Args:
        wanted: what is asked for, to say so: "declare".
        address: of whom.
        seconds: that it may take.

    Raises:
        BrokerUnavailable: there was no answer.
        ConfigurationError: it was no, and will be.
    """
    try:
        with quiet(), cancellable():
            async with AnswerTimeout(seconds):
                yield
    except BrokerUnavailable:
        raise
    except BaseException as error:
        if isinstance(error, FAULTS) or is_foreign_cancellation(error):
            raise mapped(wanted, address, error) from error
        raise


def _amqp_url(target: Target) -> URL:
    # `heartbeat` and `auth` are what aiormq takes from there only.
    query = {"heartbeat": str(target.heartbeat), "auth": target.mechanism}
    user, password = target.user, target.password
    return URL.build(scheme="amqp", user=user, password=password, host=target.host, port=target.port, query=query)


def _name(purpose: str) -> str:
    return f"asyncq {purpose}, process {os.getpid()} on {socket.gethostname()}"
