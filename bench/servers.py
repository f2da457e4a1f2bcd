"""A Redis server of the benchmark's own, and what it counts."""

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis.asyncio
import redis.exceptions

from bench.machine import cpu_seconds

START_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What a server has done since it was started, or between two looks.

    Attributes:
        commands: those that scripts run included.
        reads: how often it read from a client: a round trip each, or a part of a large one.
        cpu: seconds.
    """

    commands: int
    reads: int
    cpu: float

    def __sub__(self, earlier: "Counters") -> "Counters":
        # The earlier look counts itself in the later one.
        return Counters(self.commands - earlier.commands - 1, self.reads - earlier.reads - 1, self.cpu - earlier.cpu)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server without persistence."""

    port: int
    pid: int
    client: redis.asyncio.Redis

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def flush(self) -> None:
        """Remove everything: keys, and the scripts and functions that clients have left."""
        await self.client.execute_command("FLUSHALL")
        await self.client.execute_command("SCRIPT", "FLUSH")
        await self.client.execute_command("FUNCTION", "FLUSH")

    async def counters(self) -> Counters:
        stats = await self.client.info("stats")
        return Counters(stats["total_commands_processed"], stats["total_reads_processed"], cpu_seconds([self.pid]))

    async def used_memory(self) -> int:
        """Return bytes."""
        return (await self.client.info("memory"))["used_memory"]

    async def version(self) -> str:
        return (await self.client.info("server"))["redis_version"]

    async def number(self, command: tuple[str, ...]) -> int:
        """Return the number that a command answers, or the first of several; 0 where there is nothing yet."""
        try:
            reply = await self.client.execute_command(*command)
        except redis.exceptions.ResponseError:
            return 0
        while isinstance(reply, dict | list):
            reply = next(iter(reply.values() if isinstance(reply, dict) else reply))
        return int(reply or 0)


@asynccontextmanager
async def redis_server() -> AsyncIterator[RedisServer]:
    """Start a server on a free port and in a folder of its own; end it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="asyncq-bench-") as folder:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            os.environ.get("ASYNCQ_REDIS_SERVER") or "redis-server",
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"),
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the driver, which ends the server itself
        )
        client = redis.asyncio.Redis(port=port, socket_timeout=60)
        try:
            await _answers(client)
            yield RedisServer(port, process.pid, client)
        finally:
            await client.aclose()
            process.kill()
            await process.wait()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _answers(client: redis.asyncio.Redis) -> None:
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            await client.ping()
            return
        except redis.exceptions.ConnectionError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)
