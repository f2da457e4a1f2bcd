"""The backends that the conformance suites are run on."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from asyncq.memory import MemoryState, MemoryStore, MemoryTransport
from asyncq.queues import Queue
from asyncq.redis import RedisClient, RedisStore, RedisTransport
from asyncq.sqlite import SQLiteDatabase, SQLiteStore, SQLiteTransport
from asyncq.store import Store
from asyncq.testing import MovableClock
from asyncq.testing.conformance import Backend
from asyncq.transport import Transport
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


class MovedMemory(Memory):
    """A state whose clock moves when a test lets time pass."""

    def __init__(self) -> None:
        self._clock = MovableClock()
        super().__init__(MemoryState(self._clock))

    async def pass_time(self, seconds: float) -> None:
        self._clock.move(seconds)
        for _ in range(5):  # what that woke may run
            await asyncio.sleep(0)

    def now_ms(self) -> int:
        return self._clock.now_ms()


class SQLite(Backend):
    """A file, which every process opens for itself."""

    capabilities = SQLiteTransport.capabilities

    def __init__(self, path: Path) -> None:
        self._path = path

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        database = SQLiteDatabase(self._path)
        transport = SQLiteTransport(database, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, SQLiteStore(database, namespace=namespace)


class Redis(Backend):
    """A server, to which every process has connections of its own."""

    capabilities = RedisTransport.capabilities

    def __init__(self, url: str) -> None:
        self._url = url

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        client = RedisClient(self._url)
        transport = RedisTransport(client, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, RedisStore(client, namespace=namespace)


class Forgetful(Backend):
    """Queues that know no ids; namespaces are servers."""

    capabilities = ForgetfulTransport.capabilities

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        server = self._servers.setdefault(namespace, Server())
        transport = ForgetfulTransport(server, queues=queues, dead_cap=dead_cap)
        return transport, ForgetfulReplies(server, secrets.token_hex(8))
