"""Redis passes the suites."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from asyncq.queues import Queue
from asyncq.redis import RedisClient, RedisStore, RedisTransport
from asyncq.store import Store
from asyncq.testing.conformance import Backend, StoreSuite, TransportSuite
from asyncq.transport import Transport
from tests.conformance.machine import SettlementMachine

RANDOM_STEPS = settings(
    max_examples=15,
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


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


def test_redis_agrees_with_the_model(redis_url: str) -> None:
    """After any steps, wrong and repeated ones among them, Redis holds what the model holds."""

    class Machine(SettlementMachine):
        def make_backend(self) -> Backend:
            return RedisBackend(redis_url)

    run_state_machine_as_test(Machine, settings=RANDOM_STEPS)
