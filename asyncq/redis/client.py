"""The client: what a transport and a store on the same server share."""

import asyncio
import logging
from collections.abc import Sequence

from asyncq.clock import SteadyClock
from asyncq.errors import ConfigurationError
from asyncq.findings import Finding
from asyncq.redis.checks import eviction_flaw, facts_in, findings_of, setting_in, version_flaw
from asyncq.redis.keys import KeySpace
from asyncq.redis.link import Link
from asyncq.redis.lookout import Lookout
from asyncq.redis.server import Server

logger = logging.getLogger("asyncq.redis")


class RedisClient:
    """A Redis, and this process's connections to it. It belongs to the event loop on which it is opened.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, `unix://path`,
            `redis+sentinel://host[:port],host[:port].../service[/database]` or `redis+cluster://host[:port],host[:port]...`.
        connect_timeout: seconds that connecting may take.
        command_timeout: seconds after which a command counts as unanswered, repeats included.

    Attributes:
        commands: the connection of all that is short.
        settling: the connection of settlements, which must not stand behind anything else.
        lookout: finds out that another server has become the master; whoever runs anything on the client runs it.
    """

    def __init__(self, url: str, *, connect_timeout: float = 5, command_timeout: float = 5) -> None:
        self.server = Server(url, connect_timeout=connect_timeout, command_timeout=command_timeout)
        self._links: set[Link] = set()
        self.commands = self.link()
        self.settling = self.link()
        self.lookout = Lookout(self.server)
        self._opening = asyncio.Lock()
        self._is_open = False

    @property
    def clock(self) -> SteadyClock:
        """The server's clock."""
        return self.server.clock

    def link(self) -> Link:
        """Return a connection of its own for something that blocks; it is closed with the client, or before."""
        link = Link(self.server)
        self._links.add(link)
        return link

    async def close_link(self, link: Link) -> None:
        """Close a connection that nobody needs any more."""
        self._links.discard(link)
        await link.close()

    def space(self, namespace: str) -> KeySpace:
        """Return the keys of a namespace. In a cluster a client goes where they lie: those of one namespace only."""
        space = KeySpace(namespace)
        self.server.keep(space.own["queues"])
        return space

    async def open(self) -> None:
        """Connect, unless it is done already. Raises BrokerUnavailable, and ConfigurationError for an unfit server."""
        async with self._opening:
            if not self._is_open:
                await self._examine()
                await self.commands.follow(self.server.load_scripts(), wanted="load its scripts")
                self._is_open = True

    async def close(self) -> None:
        """Close every connection."""
        while self._links:
            await self._links.pop().close()

    async def check(self) -> Sequence[Finding]:
        """Return what is to be said of the server and its settings. Raises what `open` raises."""
        questions = [("INFO", part) for part in ("server", "memory", "persistence", "replication")]
        *replies, setting = await self.commands.attempt(
            [*questions, ("CONFIG", "GET", "appendfsync")],
            wanted="check it",
            seconds=self.server.command_timeout,
            keeps_errors=True,
        )
        return findings_of(facts_in(replies), setting_in(setting), self.server.address)

    async def _examine(self) -> None:
        """Find out what kind of server it is, as far as this user may ask; what is unfit will say so at a script."""
        replies = await self.commands.attempt(
            [("INFO", "server"), ("INFO", "memory")],
            wanted="connect",
            seconds=self.server.connect_timeout,
            keeps_errors=True,
        )
        facts = facts_in(replies)
        if "cluster" in (facts.get("redis_mode"), facts.get("server_mode")):  # the second one is Valkey's
            self.server.join_cluster()
        if flaw := version_flaw(facts):
            raise ConfigurationError(f"Redis at {self.server.address} {flaw}")
        if flaw := eviction_flaw(facts):
            logger.warning("Redis at %s %s", self.server.address, flaw)
