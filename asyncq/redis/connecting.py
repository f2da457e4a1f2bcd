"""Connecting: visits, on an event loop or in a thread, until the node that holds the namespace is found."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from redis.exceptions import ResponseError

from asyncq.redis.faults import FAULTS, is_passing
from asyncq.redis.server import Command, Found, Reply, Server, ThreadWire, Wire
from asyncq.redis.topology import Visit


async def connect(server: Server) -> tuple[Wire, Found]:
    """Return a connection for the running loop. Raises what stood in the way."""
    server.check_loop()
    tour = _Tour(server)
    wire: Wire | None = None
    try:
        while (visit := tour.next()) is not None:
            if wire is not None:
                await wire.disconnect(nowait=True)
            wire = server.connection(visit)
            try:
                async with asyncio.timeout(server.visit_timeout):
                    await wire.connect()
                    tour.take(await exchange(server, wire, visit.commands))
            except FAULTS as fault:
                tour.meet(fault)
        assert wire is not None, "a search visits the node that it returns"
        return wire, tour.found
    except BaseException:
        if wire is not None:
            await wire.disconnect(nowait=True)
        raise


def connect_thread(server: Server) -> tuple[ThreadWire, Found]:
    """Return a connection for this thread. Raises what stood in the way."""
    tour = _Tour(server)
    wire: ThreadWire | None = None
    try:
        while (visit := tour.next()) is not None:
            if wire is not None:
                wire.disconnect()
            wire = server.thread_connection(visit)
            try:
                wire.connect()
                tour.take(exchange_in_thread(server, wire, visit.commands))
            except FAULTS as fault:
                tour.meet(fault)
        assert wire is not None, "a search visits the node that it returns"
        return wire, tour.found
    except BaseException:
        if wire is not None:
            wire.disconnect()
        raise


async def ask(server: Server, visit: Visit) -> list[Reply]:
    """Visit one node, and return its replies. Raises what stood in the way."""
    wire = server.connection(visit)
    try:
        async with asyncio.timeout(server.visit_timeout):
            await wire.connect()
            return await exchange(server, wire, visit.commands)
    finally:
        await wire.disconnect(nowait=True)


async def exchange(server: Server, wire: Wire, commands: Sequence[Command]) -> list[Reply]:
    """Send commands and return a reply to each; what the server has against one is its reply."""
    await server.send(wire, commands)
    replies: list[Reply] = []
    for _ in commands:
        try:
            replies.append(await wire.read_response())
        except ResponseError as error:
            replies.append(_kept(error))
    return replies


def exchange_in_thread(server: Server, wire: ThreadWire, commands: Sequence[Command]) -> list[Reply]:
    """Do the same in a thread."""
    wire.send_packed_command(server.pack(commands), check_health=False)
    replies: list[Reply] = []
    for _ in commands:
        try:
            replies.append(wire.read_response())
        except ResponseError as error:
            replies.append(_kept(error))
    return replies


def _kept(error: ResponseError) -> ResponseError:
    """Return what a command was refused for; raise it where another connection, or a little time, may help."""
    if is_passing(error):
        raise error
    return error


class _Tour:
    """A search for the master, for whoever makes the visits: each is followed by what it has brought.

    Attributes:
        found: where it has ended, once there is no next visit.
    """

    found: Found

    def __init__(self, server: Server) -> None:
        self._server = server
        self._search = server.topology.search()
        self._step: Callable[[], Visit] = partial(next, self._search)

    def next(self) -> Visit | None:
        """Return whom to visit; None: the last one was it. Raises what stood in the way at last."""
        try:
            return self._step()
        except StopIteration as end:
            self.found = self._server.found(*end.value)
            return None

    def take(self, replies: Sequence[Reply]) -> None:
        """Go on with the replies of who was visited."""
        self._step = partial(self._search.send, replies)

    def meet(self, fault: Exception) -> None:
        """Go on with the fault that a visit has met."""
        self._step = partial(self._search.throw, fault)
