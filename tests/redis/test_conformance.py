"""Redis passes the suites."""

from collections.abc import Sequence

import pytest

from asyncq.queues import Queue
from asyncq.redis import RedisClient, RedisStore, RedisTransport
from asyncq.store import Store
from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.transport import Transport


class RedisBackend(Backend):
    """Pairs on one server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        client = RedisClient(self._url)
        transport = RedisTransport(client, namespace=namespace, queues=queues, dead_cap=dead_cap)
        return transport, RedisStore(client, namespace=namespace)


class TestRedisTransport(TransportSuite):
    """The transport's promises."""

    @pytest.fixture
    def backend(self, redis_url: str) -> Backend:
        return RedisBackend(redis_url)


class TestRedisStore(StoreSuite):
    """The store's promises."""

    @pytest.fixture
    def backend(self, redis_url: str) -> Backend:
        return RedisBackend(redis_url)
