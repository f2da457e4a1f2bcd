"""Where the messages are, and what may befall that place."""

import asyncio
import signal
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from redis.asyncio import Redis

from asyncq.redis.keys import QUEUE_KEYS, SPACE_KEYS
from tests.chaos.crew import ROOT
from tests.chaos.faults import Fault, FaultKind
from tests.chaos.proxy import Proxy
from tests.promises.drained import rows_in
from tests.redis_keys import assert_no_keys_left
from tests.servers import RedisServer

NAMESPACE = "chaos"
STAY = (
    "{{namespace}}:q:*:sequence",
    "{{namespace}}:q:*:wake",
    "{{namespace}}:q:*:wake_suspects",
    "{{namespace}}:queues",
)
"""Redis keys that outlive the messages, as asyncq/redis/keys.py says."""


class Site(ABC):
    """A place for messages, under fire.

    Attributes:
        url: the way there that no fault touches.
    """

    url: str

    @abstractmethod
    def url_of(self, crew: int) -> str:
        """Return the way that a member of the crew takes."""

    @abstractmethod
    def crews_hit(self, fault: Fault, crews: Sequence[str]) -> Collection[str]:
        """Return who of the crew suffers from a fault."""

    @abstractmethod
    async def suffer(self, fault: Fault) -> None:
        """Have a fault, from its begin to its end."""

    @abstractmethod
    async def consumers(self) -> int:
        """Return how many workers are members."""

    @abstractmethod
    async def left_behind(self) -> str:
        """Return what is there but results, dead letters and what is documented to stay; empty: nothing."""


class RedisSite(Site):
    """A Redis that keeps each write before it confirms it, behind two networks."""

    def __init__(self, server: RedisServer, networks: Sequence[Proxy]) -> None:
        self.url = server.url
        self._server = server
        self._networks = networks
        self._turn = asyncio.Lock()
        self._turns = [asyncio.Lock() for _ in networks]

    def url_of(self, crew: int) -> str:
        return self._networks[crew % len(self._networks)].url()

    def crews_hit(self, fault: Fault, crews: Sequence[str]) -> Collection[str]:
        if fault.kind not in NETWORK:
            return crews
        return [crew for number, crew in enumerate(crews) if (number - fault.target) % len(self._networks) == 0]

    async def suffer(self, fault: Fault) -> None:
        if fault.kind in NETWORK:
            number = fault.target % len(self._networks)
            async with self._turns[number]:
                await disturb(self._networks[number], fault)
        else:
            async with self._turn:
                await self._disturb_server(fault)

    async def consumers(self) -> int:
        async with Redis.from_url(self.url) as redis:
            return await redis.zcard(f"{{{NAMESPACE}}}:workers")

    async def left_behind(self) -> str:
        try:
            await assert_no_keys_left(self.url, NAMESPACE, allowed=STAY)
        except AssertionError as error:
            return str(error)
        async with Redis.from_url(self.url, decode_responses=True) as redis:
            strange = [key async for key in redis.scan_iter(count=1_000) if not is_documented(key)]
        return f"keys of no documented name: {', '.join(strange)}" if strange else ""

    async def _disturb_server(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.KILL_SERVER:
                await asyncio.to_thread(self._server.kill)
                await asyncio.sleep(fault.seconds)  # the outage itself
                await asyncio.to_thread(self._server.start)
            case FaultKind.FREEZE_SERVER:
                self._server.pause()
                await asyncio.sleep(fault.seconds)  # the frost itself
                self._server.resume()
            case _:
                async with Redis.from_url(self.url) as redis:
                    await redis.execute_command(*command_of(fault))


def is_documented(key: str) -> bool:
    """Tell whether asyncq/redis/keys.py names this key."""
    tag, _, name = key.partition(":")
    if name.startswith("q:"):
        return tag == f"{{{NAMESPACE}}}" and name.split(":")[2] in QUEUE_KEYS
    return tag == f"{{{NAMESPACE}}}" and name.split(":")[0] in SPACE_KEYS


NETWORK = {FaultKind.CUT, FaultKind.REFUSE, FaultKind.DELAY, FaultKind.HALF_CLOSE, FaultKind.BLACKHOLE}


def command_of(fault: Fault) -> Sequence[str]:
    """Return what to tell the server."""
    match fault.kind:
        case FaultKind.DEBUG_SLEEP:
            return ["DEBUG", "SLEEP", f"{fault.seconds:.3f}"]
        case FaultKind.CLIENT_KILL:
            return ["CLIENT", "KILL", "SKIPME", "yes", "TYPE", "pubsub" if fault.is_rough else "normal"]
        case FaultKind.SCRIPT_FLUSH:
            return ["SCRIPT", "FLUSH"]
        case _:
            raise ValueError(fault)


async def disturb(network: Proxy, fault: Fault) -> None:
    """Have a fault of the network, and heal it."""
    match fault.kind:
        case FaultKind.CUT:
            network.cut(reset=fault.is_rough)
        case FaultKind.REFUSE:
            network.refuse()
            network.cut(reset=fault.is_rough)
        case FaultKind.DELAY:
            network.delay(fault.delay, *fault.directions)
        case FaultKind.BLACKHOLE:
            network.blackhole(*fault.directions)
        case FaultKind.HALF_CLOSE:
            for direction in fault.directions[:1]:
                network.half_close(direction)
        case _:
            raise ValueError(fault)
    await asyncio.sleep(fault.seconds)  # the fault itself
    network.heal()


class SQLiteSite(Site):
    """A file, which others lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue.db"
        self.url = f"sqlite:///{self._path}"
        self._turn = asyncio.Lock()

    def url_of(self, crew: int) -> str:
        return self.url

    def crews_hit(self, fault: Fault, crews: Sequence[str]) -> Collection[str]:
        return crews

    async def suffer(self, fault: Fault) -> None:
        async with self._turn:
            writer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.writer", str(self._path)),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                assert writer.stdout
                await writer.stdout.readline()
                writer.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)  # the frost itself
                if fault.kind is FaultKind.FREEZE_WRITER:
                    writer.send_signal(signal.SIGCONT)
                    await writer.communicate(b"")
            finally:
                if writer.returncode is None:
                    writer.kill()
                    await writer.communicate()

    async def consumers(self) -> int:
        with closing(sqlite3.connect(self._path, timeout=30)) as file:
            return file.execute("SELECT count(*) FROM consumers").fetchone()[0]

    async def left_behind(self) -> str:
        left = rows_in(str(self._path))
        left.pop("letters", None)
        return ", ".join(f"{count} in {table}" for table, count in left.items())


@contextmanager
def site_of(broker: str, folder: Path) -> Iterator[Site]:
    """Make a place of this kind, which ends with the block."""
    if broker == "sqlite":
        yield SQLiteSite(folder)
        return
    with ExitStack() as stack:
        server = RedisServer(folder / "redis", "--enable-debug-command", "local", appendonly=True)
        stack.enter_context(server)
        yield RedisSite(server, [stack.enter_context(Proxy(server.port)) for _ in range(2)])
