"""The broker on Redis."""

from typing import Any

from asyncq.broker.broker import Broker
from asyncq.broker.urls import hidden_password
from asyncq.redis import RedisClient, RedisStore, RedisTransport
from asyncq.store import Store
from asyncq.transport import Transport


class RedisBroker(Broker):
    """A broker on a Redis server, 6.2 or later.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, or `unix://path`.
        options: see `Broker`.
    """

    capabilities = RedisTransport.capabilities

    def __init__(self, url: str = "redis://localhost:6379/0", **options: Any) -> None:
        super().__init__(**options)
        self.url = url

    def describe(self) -> str:
        return hidden_password(self.url)

    def connect(self) -> tuple[Transport, Store]:
        client = RedisClient(self.url, connect_timeout=self.connect_timeout, command_timeout=self.command_timeout)
        return (
            RedisTransport(
                client, namespace=self.namespace, queues=list(self.queues.values()), dead_cap=self.dead_letter_cap
            ),
            RedisStore(client, namespace=self.namespace),
        )
