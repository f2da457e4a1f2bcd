"""A RabbitMQ server of the benchmark's own, and what it counts."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import cpu_seconds
from tests.rabbitmq_servers import RabbitMQServer

_EMPTY = """
Host = <<"/">>,
[rabbit_amqqueue:delete(Queue, false, false, <<"bench">>) || Queue <- rabbit_amqqueue:list(Host)],
IsOurs = fun({resource, _, exchange, <<"amq.", _/binary>>}) -> false;
            ({resource, _, exchange, Name}) -> Name =/= <<>>
         end,
Names = [element(2, Exchange) || Exchange <- rabbit_exchange:list(Host)],
[rabbit_exchange:delete(Name, false, <<"bench">>) || Name <- Names, IsOurs(Name)].
"""


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A running server: one node with one scheduler, and without plugins."""

    server: RabbitMQServer

    @property
    def url(self) -> str:
        return self.server.url

    def cpu(self) -> float:
        """Return the seconds that it has used."""
        return cpu_seconds([self.server.pid])

    async def flush(self) -> None:
        """Remove all queues and exchanges."""
        await asyncio.to_thread(self.server.evaluate, _EMPTY)

    async def messages(self, queue: str) -> int:
        """Return how many messages a queue has, the unacknowledged included; it takes some 10 ms."""
        return (await asyncio.to_thread(self.server.queues))[queue]

    async def version(self) -> str:
        return await asyncio.to_thread(self.server.evaluate, "rabbit_misc:version().")


@asynccontextmanager
async def rabbitmq_server() -> AsyncIterator[RabbitMQ]:
    """Start a server on free ports and in a folder of its own; end it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="asyncq-bench-") as folder:
        server = RabbitMQServer(Path(folder) / "rabbitmq")
        try:
            await asyncio.to_thread(server.start)
            yield RabbitMQ(server)
        finally:
            await asyncio.to_thread(server.kill)
