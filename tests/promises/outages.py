"""A broker that answers nobody for a while, and what it has."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.promises.pair import Server
from tests.rabbitmq_servers import RabbitMQServer


@contextmanager
def unanswering(server: Server | None, url: str) -> Iterator[None]:
    """Let nobody write meanwhile, with all connections and files open: the server is frozen, or the file locked."""
    if server is not None:
        server.pause()
        yield
        server.resume()
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")


async def messages_in(node: RabbitMQServer, namespace: str) -> int:
    """Return how many messages a node has of a namespace, lent ones included."""
    queues = await asyncio.to_thread(node.queues)
    return sum(count for name, count in queues.items() if name.startswith(f"asyncq:{namespace}:"))
