"""The sites of each kind."""

import asyncio
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from redis.asyncio import Redis

from asyncq.redis import keys
from tests.chaos.calls import PER
from tests.chaos.crew import ROOT
from tests.chaos.faults import Fault, FaultKind
from tests.chaos.networks import FAULTS, Networks
from tests.chaos.rabbitmq_site import RabbitMQSite
from tests.chaos.site import NAMESPACE, Site
from tests.promises.drained import rows_in
from tests.rabbitmq_servers import RabbitMQServer
from tests.redis_keys import assert_no_keys_left
from tests.servers import RedisServer

STAY = (
    "{{namespace}}:q:*:sequence",
    "{{namespace}}:q:*:wake",
    "{{namespace}}:q:*:wake_suspects",
    "{{namespace}}:queues",
    "{{namespace}}:limits",
)
"""Redis keys that outlive the messages, as asyncq/redis/keys.py says."""

LEDGER = "{{namespace}}:ledger"
"""One more, where the messages are elsewhere."""


class RedisSite(Site):
    """A Redis that keeps each write before it confirms it, behind two networks.

    Args:
        server, networks: the two.
        is_store: it remembers the calls of another server.
    """

    def __init__(self, server: RedisServer, networks: Networks, *, is_store: bool = False) -> None:
        self.url = server.url
        self._server = server
        self._networks = networks
        self._stay = (*STAY, LEDGER) if is_store else STAY
        self._turn = asyncio.Lock()

    def url_of(self, crew: int) -> str:
        return self._networks.of(crew).url()

    def is_hit(self, fault: Fault, crew: int) -> bool:
        return fault.kind not in FAULTS or self._networks.is_hit(fault, crew)

    def turn_of(self, fault: Fault) -> asyncio.Lock:
        return self._networks.turn_of(fault) if fault.kind in FAULTS else self._turn

    async def suffer(self, fault: Fault) -> None:
        if fault.kind in FAULTS:
            await self._networks.suffer(fault)
        else:
            await self._disturb_server(fault)

    async def consumers(self) -> int:
        async with Redis.from_url(self.url) as redis:
            return await redis.zcard(f"{{{NAMESPACE}}}:workers")

    async def left_behind(self) -> str:
        try:
            await assert_no_keys_left(self.url, NAMESPACE, allowed=self._stay)
        except AssertionError as error:
            return str(error)
        async with Redis.from_url(self.url, decode_responses=True) as redis:
            strange = [key async for key in redis.scan_iter(count=1_000) if not is_documented(key)]
            old = [key async for key in redis.scan_iter("*:grants:*") if await redis.pttl(key) > GRANTS_MS]
        found = {"keys of no documented name": strange, "grants that are kept too long": old}
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items() if names)

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


_NAME = re.compile(r"^ +(?:{ns}|\.\.\.):(q:QUEUE:)?(\w+)", re.MULTILINE)
DOCUMENTED = {(bool(of_queue), name) for of_queue, name in _NAME.findall(keys.__doc__ or "")}
"""The names of keys that asyncq/redis/keys.py tells of, and whether they are a queue's."""

GRANTS_MS = round(2_000 * PER + 1_000)
"""For how long a log of grants is kept after the latest, at the most."""


def is_documented(key: str) -> bool:
    """Tell whether asyncq/redis/keys.py names this key."""
    tag, _, name = key.partition(":")
    parts = name.split(":")
    of_queue = parts[0] == "q"
    return tag == f"{{{NAMESPACE}}}" and (of_queue, parts[2 if of_queue else 0]) in DOCUMENTED


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


class SQLiteSite(Site):
    """A file, which others lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue.db"
        self.url = f"sqlite:///{self._path}"
        self._turn = asyncio.Lock()

    def url_of(self, crew: int) -> str:
        return self.url

    def is_hit(self, fault: Fault, crew: int) -> bool:
        return True

    def turn_of(self, fault: Fault) -> asyncio.Lock:
        return self._turn

    async def suffer(self, fault: Fault) -> None:
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
        with closing(sqlite3.connect(self._path, timeout=30)) as file:
            latest_ms = time.time() * 1000 + GRANTS_MS
            [old] = file.execute("SELECT count(*) FROM grants WHERE ends_ms > ?", (latest_ms,)).fetchone()
        left |= {"grants, kept too long": old} if old else {}
        return ", ".join(f"{count} in {table}" for table, count in left.items())


@contextmanager
def site_of(broker: str, folder: Path) -> Iterator[Site]:
    """Make a place of this kind, which ends with the block."""
    kind, _, store = broker.partition("+")
    with ExitStack() as stack:
        match kind:
            case "sqlite":
                yield SQLiteSite(folder)
            case "redis":
                yield stack.enter_context(redis_site(folder))
            case _:
                node = stack.enter_context(RabbitMQServer(folder / "rabbitmq"))
                networks = stack.enter_context(Networks.to(node.port))
                memory = SQLiteSite(folder) if store else stack.enter_context(redis_site(folder, is_store=True))
                yield RabbitMQSite(node, networks, memory)


@contextmanager
def redis_site(folder: Path, *, is_store: bool = False) -> Iterator[RedisSite]:
    """Start a Redis, and its networks, until the block ends."""
    server = RedisServer(folder / "redis", "--enable-debug-command", "local", appendonly=True)
    with server, Networks.to(server.port) as networks:
        yield RedisSite(server, networks, is_store=is_store)
