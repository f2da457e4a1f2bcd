"""The broker on Redis."""

from collections.abc import Sequence
from typing import Any

from asyncq.broker.broker import Broker
from asyncq.broker.urls import hidden_password
from asyncq.findings import Finding
from asyncq.ledger import Ledger
from asyncq.redis import RedisClient, RedisLedger, RedisStore, RedisTransport
from asyncq.store import Store
from asyncq.transport import Transport


class RedisBroker(Broker):
    """A broker on Redis, 6.2 or later: a server, the master that sentinels name, or a cluster.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, or `unix://path`. With Sentinel
            `redis+sentinel://host[:port],host[:port].../service[/database]`. A cluster is recognised; several of its
            nodes are named by `redis+cluster://host[:port],host[:port]...`.
        options: see `Broker`.
    """

    capabilities = RedisTransport.capabilities

    def __init__(self, url: str = "redis://localhost:6379/0", **options: Any) -> None:
        super().__init__(**options)
        self.url = url

    def describe(self) -> str:
        return hidden_password(self.url)

    def connect(self) -> tuple[Transport, Store]:
        client = self._client()
        return (
            RedisTransport(
                client, namespace=self.namespace, queues=list(self.queues.values()), dead_cap=self.dead_letter_cap
            ),
            RedisStore(client, namespace=self.namespace),
        )

    def connect_ledger(self) -> tuple[Ledger, Store]:
        client = self._client()
        return RedisLedger(client, namespace=self.namespace), RedisStore(client, namespace=self.namespace)

    async def _examine(self) -> Sequence[Finding]:
        client = self._client()
        client.space(self.namespace)
        try:
            await client.open()
            return await client.check()
        finally:
            await client.close()

    def _client(self) -> RedisClient:
        return RedisClient(self.url, connect_timeout=self.connect_timeout, command_timeout=self.command_timeout)
