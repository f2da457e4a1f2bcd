"""The client: the connections of a process, and what several things do over them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aiormq import ChannelAccessRefused, ChannelNotFoundEntity
from aiormq.abc import AbstractChannel

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.connection import asking
from asyncq.rabbitmq.declaring import Declarer
from asyncq.rabbitmq.delays import Route
from asyncq.rabbitmq.faults import Silence, is_node_down
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.publishing import Publisher
from asyncq.rabbitmq.reconnecting import Outage, Reconnecting
from asyncq.rabbitmq.topology import Topology
from asyncq.rabbitmq.urls import HEARTBEAT, read_urls
from asyncq.rabbitmq.wire import Wire

T = TypeVar("T")


class RabbitClient:
    """Keeps a connection for publishing, and one for consuming once something is consumed.

    Two, because the server stops reading from whoever publishes too fast. Opened and closed by a transport and by a
    store; the first opens, the last closes.

    Args:
        urls: of one or several nodes.
        namespace: where all names are.
        priorities: the largest priority of each queue that has any.
        heartbeat: seconds; None: as the URLs say.
        usual_heartbeat: of URLs that say none.
        declare: False: what is missing is an error.
        connect_timeout, command_timeout: seconds.

    Attributes:
        names, wire: of the namespace.
        command_timeout: seconds.
        outage: whether connections are lost just now.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        namespace: str,
        priorities: Mapping[str, int],
        connect_timeout: float,
        command_timeout: float,
        heartbeat: int | None = None,
        usual_heartbeat: int = HEARTBEAT,
        declare: bool = True,
    ) -> None:
        self.names = Names(namespace)
        self.wire = Wire(self.names, priorities)
        self.command_timeout = command_timeout
        self._targets = [
            target if heartbeat is None else target._replace(heartbeat=heartbeat)
            for target in read_urls(urls, heartbeat=usual_heartbeat)
        ]
        self._topology = Topology(self.names, priorities)
        self._connect_timeout = connect_timeout
        self._declare = declare
        self.outage = Outage()
        self._users = 0
        self._group: asyncio.TaskGroup | None = None
        self._doers: list[asyncio.Task[None]] = []
        self._publishing: Reconnecting | None = None
        self._consuming: Reconnecting | None = None
        self._publisher: Publisher | None = None
        self._declarer: Declarer | None = None
        self._asked: AbstractChannel | None = None
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Connect, unless that is done. Raises BrokerUnavailable with what was tried, and ConfigurationError."""
        if self._users:
            self._users += 1
            return
        self._group = await asyncio.TaskGroup().__aenter__()
        try:
            publishing = self._publishing = self._connecting("publishing")
            await publishing.connection(seconds=self._connect_timeout)
        except BaseException:
            await self._stop()
            raise
        self._publisher = Publisher(publishing, command_timeout=self.command_timeout)
        self._declarer = Declarer(self._open_channel, self._topology, declare=self._declare)
        self._users = 1

    def start(self, doer: Coroutine[Any, Any, None]) -> None:
        """Run a doer until the client is closed."""
        if self._group is None:
            doer.close()
            raise _closed()
        self._doers.append(self._group.create_task(doer))

    async def close(self) -> None:
        """Disconnect, where nobody else uses it."""
        if self._users:
            self._users -= 1
            if not self._users:
                await self._stop()

    @property
    def publisher(self) -> Publisher:
        """What publishes."""
        if self._publisher is None:
            raise _closed()
        return self._publisher

    @property
    def consuming(self) -> Reconnecting:
        """The connection for consuming; it is opened when it is first asked for."""
        if self._group is None:
            raise _closed()
        if self._consuming is None:
            self._consuming = self._connecting("consuming")
        return self._consuming

    async def provide(self, queue: str) -> None:
        """See to it that a queue can be published to and consumed. Raises BrokerUnavailable and ConfigurationError."""
        if not self._declaring.has_queue(queue):  # asked before each publish
            await self._declared(self._declaring.queue(queue))

    async def provide_ladder(self, routes: Iterable[Route]) -> None:
        """See to it that messages can go these ways through the ladder. Raises the same."""
        await self._declared(self._declaring.ladder(routes))

    async def provide_reply(self, address: str, number: int) -> None:
        """See to it that there is a queue for a process that waits for results. Raises the same.

        Args:
            address: of the process.
            number: of its queue: how many it has had before.
        """
        if not self._declaring.has_reply(address, number):  # asked before each wait
            await self._declared(self._declaring.reply(address, number))

    def forget(self) -> None:
        """Declare all anew when it is next used: something that was there is not any more."""
        self._declaring.forget()

    async def count(self, server_queue: str) -> int:
        """Return how many messages of a queue are ready, as far as the server knows just now; 0: there is none.

        Raises BrokerUnavailable; it is a NodeDown where the queue is on a node that is down.
        """
        return await self._messages_in(server_queue) or 0

    async def is_missing(self, server_queue: str) -> bool:
        """Tell whether the server has no such queue. Raises the same.

        From 4.0 on, the server is silent for a minute about a queue on a node that is down, and any is about a queue
        that it has yet to load. So it is a `Silence` where it says nothing of the queue in time, but answers otherwise.
        """
        try:
            return await self._messages_in(server_queue) is None
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            await self._ask("answer", lambda channel: channel.basic_qos(prefetch_count=1))
            raise Silence(f"RabbitMQ at {self.address} says nothing of {server_queue!r}.") from error

    async def delete(self, server_queue: str) -> None:
        """Delete a queue, if it is there. Raises the same."""
        await self._ask("delete a queue", lambda channel: channel.queue_delete(server_queue))

    async def _messages_in(self, server_queue: str) -> int | None:
        """Return how many are ready, None where there is no such queue. Raises BrokerUnavailable."""
        answer = await self._ask("look at a queue", lambda channel: channel.queue_declare(server_queue, passive=True))
        return None if answer is None else answer.message_count or 0

    async def _ask(self, wanted: str, ask: Callable[[AbstractChannel], Awaitable[T]]) -> T | None:
        """Return what the server answers; None: what it was asked about is not there. Raises as `count` does."""
        async with self._asking, asking(wanted, self.address, seconds=self.command_timeout):
            channel, self._asked = self._asked, None  # who gives up waiting leaves it of no use
            if channel is None or channel.is_closed:
                channel = await self._open_channel()
            try:
                answer = await ask(channel)
            except ChannelNotFoundEntity as error:
                if is_node_down(error):
                    raise
                return None
            except ChannelAccessRefused as error:  # from 4.3 on, also of a mere look
                raise ConfigurationError(
                    f"The user of RabbitMQ's URL may not {wanted}: {error}. docs/rabbitmq.md says what it needs."
                ) from error
            self._asked = channel
            return answer

    async def _open_channel(self) -> AbstractChannel:
        if self._publishing is None:
            raise _closed()
        connection = await self._publishing.connection(seconds=self.command_timeout)
        return await connection.channel()

    @property
    def _declaring(self) -> Declarer:
        if self._declarer is None:
            raise _closed()
        return self._declarer

    async def _declared(self, declaring: Awaitable[None]) -> None:
        async with asking("declare", self.address, seconds=self.command_timeout):
            await declaring

    @property
    def address(self) -> str:
        """Where the nodes are, without secrets."""
        return ", ".join(target.name for target in self._targets)

    def _connecting(self, purpose: str) -> Reconnecting:
        if self._group is None:
            raise _closed()
        seconds = 0.9 * self._connect_timeout  # whoever waits for as long as is given is told what stood in the way
        connecting = Reconnecting(self._targets, purpose=purpose, connect_timeout=seconds, outage=self.outage)
        self._doers.append(self._group.create_task(connecting.run()))
        return connecting

    async def _stop(self) -> None:
        group, self._group = self._group, None
        for doer in self._doers:
            doer.cancel()
        self._doers.clear()
        self._publishing = self._consuming = self._publisher = self._declarer = self._asked = None
        if group is not None:
            await group.__aexit__(None, None, None)


def _closed() -> BrokerUnavailable:
    return BrokerUnavailable("The connections to RabbitMQ are closed.")
