"""One connection through a proxy: two directions, each as good as its line is now."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

PIECE = 65_536
# Pieces that one direction holds back before its sender has to wait: 16 MB.
PIECES = 256
# SO_LINGER with no time left: close() sends RST instead of FIN.
AT_ONCE = struct.pack("ii", 1, 0)


class Direction(StrEnum):
    """Where bytes travel."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


@dataclass(frozen=True, slots=True)
class Line:
    """What a direction is like now; `delay` in seconds. A dead one swallows what it is given."""

    delay: float = 0
    is_dead: bool = False


class Link:
    """A client's connection and the one to the server that was made for it.

    Args:
        client: what was accepted.
        target: where the server listens.
        line: what a direction is like now.
    """

    def __init__(self, client: socket.socket, target: tuple[str, int], line: Callable[[Direction], Line]) -> None:
        self._target = target
        self._ends = client, socket.socket()
        self._is_reset = False
        client, server = self._ends
        self._flows: Mapping[Direction, Flow] = {
            Direction.TO_SERVER: Flow(client, server, lambda: line(Direction.TO_SERVER)),
            Direction.TO_CLIENT: Flow(server, client, lambda: line(Direction.TO_CLIENT)),
        }

    @property
    def has_lost(self) -> bool:
        """Whether a byte, or an end, was swallowed."""
        return any(flow.has_lost for flow in self._flows.values())

    async def run(self) -> None:
        """Pass bytes on until both sides have ended, or one is reset, or this is cancelled."""
        try:
            await self._connect()
            async with asyncio.TaskGroup() as group:
                for flow in self._flows.values():
                    group.create_task(flow.take())
                    group.create_task(flow.give())
        except* OSError:  # one side is gone, or was never there: so is the other
            self.reset_when_closed()

    def reset_when_closed(self) -> None:
        """Have both sides see RST, not FIN, in the end."""
        self._is_reset = True

    def close(self) -> None:
        """Close both sides, once `run` has ended."""
        for end in self._ends:
            if self._is_reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            end.close()

    def half_close(self, direction: Direction) -> None:
        """End one direction by FIN; what is sent there from now on is dropped."""
        self._flows[direction].finish()

    async def _connect(self) -> None:
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._ends[1], self._target)


class Flow:
    """One direction: what it has taken it gives, later or never, as its line is by then."""

    def __init__(self, source: socket.socket, sink: socket.socket, line: Callable[[], Line]) -> None:
        self.has_lost = False
        self._source = source
        self._sink = sink
        self._line = line
        self._is_finished = False
        self._pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES)

    async def take(self) -> None:
        """Read until the end of the source, which is a piece of no bytes."""
        loop = asyncio.get_running_loop()
        content = b"the first"
        while content:
            content = await loop.sock_recv(self._source, PIECE)
            await self._pieces.put((loop.time() + self._line().delay, content))

    async def give(self) -> None:
        """Write what was taken, up to the end."""
        loop = asyncio.get_running_loop()
        content = b"the first"
        while content:
            due, content = await self._pieces.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)  # the delay itself
            if self._line().is_dead:
                self.has_lost = True
            elif content:
                await self._send(content)
            else:
                self.finish()

    def finish(self) -> None:
        """Write the end."""
        self._is_finished = True
        with suppress(OSError):  # the sink is gone, or not connected yet
            self._sink.shutdown(socket.SHUT_WR)

    async def _send(self, content: bytes) -> None:
        if self._is_finished:
            return
        try:
            await asyncio.get_running_loop().sock_sendall(self._sink, content)
        except OSError:
            if not self._is_finished:  # else it was finished in the middle of this piece
                raise
