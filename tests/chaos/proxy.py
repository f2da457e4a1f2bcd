"""A network between clients and a server, which a test may cut, slow down and mend."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.chaos.link import Direction, Line, Link
from tests.servers import HOST, free_port

BACKLOG = 1_024
TIMEOUT = 10

Answer = TypeVar("Answer")


class Proxy:
    """Passes TCP connections on to a server of this machine, and has a network's faults on command.

    It runs on a thread and a loop of its own: a test that blocks its loop holds nobody up. Commands come from any
    thread and block until they have taken effect, a millisecond or two. They add up until `heal`.

    Args:
        target: the server's port. While nobody listens there, clients are accepted and then reset.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._lines = dict.fromkeys(Direction, Line())
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._is_stopped = asyncio.Event()
        self._is_started = threading.Event()
        self._thread = threading.Thread(target=self._live, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_started.wait()
        try:
            self._order(self._listen())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.refuse()
            self.cut()
        finally:
            self._stop()

    @property
    def connections(self) -> int:
        """How many clients are connected, also those whose network or server does not answer."""
        return len(self._links)

    def url(self, scheme: str = "redis", path: str = "/0") -> str:
        """Return where clients find the server through this network."""
        return f"{scheme}://{HOST}:{self.port}{path}"

    def cut(self, *, reset: bool = True) -> int:
        """End all connections on both sides, by RST or else by FIN, and return how many. New ones are accepted."""
        return self._order(self._cut(lambda link: True, reset=reset))

    def refuse(self) -> None:
        """Refuse new connections; those that are there go on."""
        self._order(self._refuse())

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Deliver each byte that comes from now on so much later; without directions, in both."""
        self._order(self._change(directions, lambda line: replace(line, delay=seconds)))

    def blackhole(self, *directions: Direction) -> None:
        """Accept what is sent and deliver nothing, not even the end of a connection; without directions, in both.

        New connections are accepted, and are as dead. What was swallowed is lost: see `heal`.
        """
        self._order(self._change(directions, lambda line: replace(line, is_dead=True)))

    def half_close(self, direction: Direction) -> int:
        """End this direction of all connections by FIN, and return how many. The other direction goes on."""
        return self._order(self._half_close(direction))

    def redirect(self, target: int) -> None:
        """Lead new connections to the server on another port."""
        self._target = target

    def heal(self) -> None:
        """Accept, delay nothing and deliver everything from now on.

        Connections of which something was swallowed are reset: nobody could make sense of the rest.
        """
        self._order(self._heal())

    def _order(self, command: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(command, self._loop).result(TIMEOUT)

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._own())

    async def _own(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            self._is_started.set()
            await self._is_stopped.wait()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._is_stopped.set)
        self._thread.join()

    async def _listen(self) -> None:
        self._listener = socket.create_server((HOST, self.port), backlog=BACKLOG)
        self._listener.setblocking(False)
        # Not sock_accept: a client that it has accepted when it is cancelled is lost, neither served nor closed.
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client is gone again
            return
        link = Link(client, (HOST, self._target), self._lines.__getitem__)
        self._links[link] = self._group.create_task(link.run())
        self._links[link].add_done_callback(lambda _: self._forget(link))

    def _forget(self, link: Link) -> None:
        del self._links[link]
        link.close()

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _cut(self, is_meant: Callable[[Link], bool], *, reset: bool) -> int:
        links = [link for link in self._links if is_meant(link)]
        tasks = [self._links[link] for link in links]
        for link, task in zip(links, tasks, strict=True):
            if reset:
                link.reset_when_closed()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)

    async def _change(self, directions: Iterable[Direction], change: Callable[[Line], Line]) -> None:
        for direction in directions or Direction:
            self._lines[direction] = change(self._lines[direction])

    async def _half_close(self, direction: Direction) -> int:
        for link in self._links:
            link.half_close(direction)
        return len(self._links)

    async def _heal(self) -> None:
        self._lines.update(dict.fromkeys(Direction, Line()))
        await self._cut(lambda link: link.has_lost, reset=True)
        if self._listener is None:
            await self._listen()
