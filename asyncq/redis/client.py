"""The client: what a transport and a store on the same server share."""

import asyncio
import re

from asyncq.clock import ServerClock
from asyncq.errors import ConfigurationError
from asyncq.redis.link import Link
from asyncq.redis.server import Server

OLDEST = (6, 2)


class RedisClient:
    """A Redis server, and this process's connections to it. It belongs to the event loop on which it is opened.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, or `unix://path`.
        connect_timeout: seconds that connecting may take.
        command_timeout: seconds after which a command counts as unanswered, repeats included.

    Attributes:
        commands: the connection of all that is short.
        settling: the connection of settlements, which must not stand behind anything else.
    """

    def __init__(self, url: str, *, connect_timeout: float = 5, command_timeout: float = 5) -> None:
        self.server = Server(url, connect_timeout=connect_timeout, command_timeout=command_timeout)
        self._links: list[Link] = []
        self.commands = self.link()
        self.settling = self.link()
        self._opening = asyncio.Lock()
        self._is_open = False

    @property
    def clock(self) -> ServerClock:
        """The server's clock."""
        return self.server.clock

    def link(self) -> Link:
        """Return a connection of its own for something that blocks; it is closed with the client."""
        link = Link(self.server)
        self._links.append(link)
        return link

    async def open(self) -> None:
        """Connect, unless it is done already. Raises BrokerUnavailable, and ConfigurationError for too old a server."""
        async with self._opening:
            if not self._is_open:
                await self._check_version()
                await self.commands.follow(self.server.load_scripts(), wanted="load its scripts")
                self._is_open = True

    async def close(self) -> None:
        """Close every connection."""
        while self._links:
            await self._links.pop().close()

    async def _check_version(self) -> None:
        seconds = self.server.connect_timeout
        [reply] = await self.commands.attempt(
            [("INFO", "server")], wanted="connect", seconds=seconds, keeps_errors=True
        )
        if not isinstance(reply, bytes):
            return  # this user may not ask; what is too old will say so at the first script
        found = re.search(r"redis_version:((\d+)\.(\d+)\S*)", reply.decode())
        if found and (int(found[2]), int(found[3])) < OLDEST:
            raise ConfigurationError(
                f"Redis at {self.server.address} is version {found[1]}; asyncq needs 6.2 or later."
            )
