"""The backends that the conformance suites are run on."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from asyncq.clock import SystemClock
from asyncq.ledger import Ledger
from asyncq.memory import MemoryLedger, MemoryState, MemoryStore, MemoryTransport
from asyncq.queues import Queue
from asyncq.redis import RedisClient, RedisLedger, RedisStore, RedisTransport
from asyncq.sqlite import SQLiteDatabase, SQLiteLedger, SQLiteStore, SQLiteTransport
from asyncq.sqlite.sweeper import Sweeper
from asyncq.store import Store
from asyncq.testing import MovableClock
from asyncq.testing.conformance import Backend, LedgerBackend
from asyncq.transport import Transport
from asyncq.turns import pass_turns
from tests.forgetful import ForgetfulReplies, ForgetfulTransport
from tests.forgetful_server import Server


class Memory(Backend):
    """A state, which all processes of a test share."""

    capabilities = MemoryTransport.capabilities

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        transport = MemoryTransport(self._state, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, MemoryStore(self._state, namespace=namespace)

    def make_ledger_pair(self, namespace: str) -> tuple[Ledger, Store]:
        return MemoryLedger(self._state, namespace=namespace), MemoryStore(self._state, namespace=namespace)


class MovedMemory(Memory, LedgerBackend):
    """A state whose clock moves when a test lets time pass."""

    def __init__(self) -> None:
        self._clock = MovableClock()
        super().__init__(MemoryState(self._clock))

    async def pass_time(self, seconds: float) -> None:
        self._clock.move(seconds)
        await pass_turns(5)  # what that woke may run

    async def age(self, namespace: str, seconds: float) -> None:
        self._clock.move(seconds)

    def now_ms(self) -> int:
        return self._clock.now_ms()


class FastClock:
    """The machine's clock, put forward now and then.

    Attributes:
        ahead_ms: by how much.
    """

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.ahead_ms


class SQLite(LedgerBackend):
    """A file, which every process opens for itself."""

    capabilities = SQLiteTransport.capabilities

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = FastClock()

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        database = SQLiteDatabase(self._path)
        transport = SQLiteTransport(database, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, SQLiteStore(database, namespace=namespace)

    def make_ledger_pair(self, namespace: str) -> tuple[Ledger, Store]:
        database = SQLiteDatabase(self._path)
        ledger = SQLiteLedger(database, namespace=namespace, clock=self._clock)
        return ledger, SQLiteStore(database, namespace=namespace, clock=self._clock)

    async def age(self, namespace: str, seconds: float) -> None:
        self._clock.ahead_ms += round(seconds * 1000)
        database = SQLiteDatabase(self._path)
        await database.open(self)
        await Sweeper(database, self._clock).sweep()  # what is over may be remembered until then
        await database.close(self)


class Redis(LedgerBackend):
    """A server, to which every process has connections of its own.

    Args:
        url: the server's, for them.
        operator: the same, of a user who may do what no process may; empty: they may.
    """

    capabilities = RedisTransport.capabilities

    def __init__(self, url: str, *, operator: str = "") -> None:
        self._url = url
        self._operator = operator or url

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        client = RedisClient(self._url)
        transport = RedisTransport(client, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, RedisStore(client, namespace=namespace)

    def make_ledger_pair(self, namespace: str) -> tuple[Ledger, Store]:
        client = RedisClient(self._url)
        return RedisLedger(client, namespace=namespace), RedisStore(client, namespace=namespace)

    async def age(self, namespace: str, seconds: float) -> None:
        client = RedisClient(self._operator)
        client.space(namespace)  # tells the client on which node that is
        await client.open()
        pattern, cursor = f"{{{namespace}}}:*", "0"
        while cursor is not None:
            [[following, keys]] = await client.commands.call([("SCAN", cursor, "MATCH", pattern)], wanted="scan")
            cursor = None if following == b"0" else following
            left = await client.commands.call([("PTTL", key) for key in keys], wanted="age") if keys else []
            aged = [("PEXPIRE", key, ms - round(seconds * 1000)) for key, ms in zip(keys, left, strict=True) if ms >= 0]
            if aged:
                await client.commands.call(aged, wanted="age")
        await client.close()


class Forgetful(Backend):
    """Queues that know no ids; namespaces are servers."""

    capabilities = ForgetfulTransport.capabilities

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        server = self._servers.setdefault(namespace, Server())
        transport = ForgetfulTransport(server, queues=queues, dead_cap=dead_cap)
        return transport, ForgetfulReplies(server, secrets.token_hex(8))
