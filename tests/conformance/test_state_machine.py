"""Random series of steps against a model: what the suites, which go from claim to claim, would not think of."""

from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.backends import MovedMemory, Redis, SQLite
from tests.conformance.machine import SettlementMachine
from tests.conformance.travelling import TravellingMachine
from tests.rabbitmq.backend import RememberingRabbitMQ

LONG = settings(
    max_examples=80, stateful_step_count=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
SHORT = settings(LONG, max_examples=15, phases=[Phase.generate])
"""On a real broker a failure is shown as it was found: making it smaller takes minutes."""

SHORTER = settings(SHORT, max_examples=6, stateful_step_count=40)
"""Each example declares its queues, and steps take round trips to two servers."""


def test_memory_agrees_with_the_model() -> None:
    """After any steps, wrong and repeated ones among them, memory holds what the model holds."""

    class Machine(SettlementMachine):
        can_move_time = True

        make_backend = staticmethod(MovedMemory)

    run_state_machine_as_test(Machine, settings=LONG)


def test_sqlite_agrees_with_the_model(tmp_path: Path) -> None:
    """After any steps, wrong and repeated ones among them, SQLite holds what the model holds."""

    class Machine(SettlementMachine):
        make_backend = staticmethod(partial(SQLite, tmp_path / "asyncq.db"))

    run_state_machine_as_test(Machine, settings=SHORT)


def test_redis_agrees_with_the_model(redis_url: str) -> None:
    """After any steps, wrong and repeated ones among them, Redis holds what the model holds."""

    class Machine(SettlementMachine):
        make_backend = staticmethod(partial(Redis, redis_url))

    run_state_machine_as_test(Machine, settings=SHORT)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_rabbitmq_agrees_with_the_model(rabbitmq_url: str, redis_url: str, tmp_path: Path, store: str) -> None:
    """After any steps, wrong and repeated ones among them, RabbitMQ and its store hold what the model holds."""
    memory = Redis(redis_url) if store == "redis" else SQLite(tmp_path / "asyncq.db")

    class Machine(TravellingMachine):
        make_backend = staticmethod(partial(RememberingRabbitMQ, rabbitmq_url, memory))

    run_state_machine_as_test(Machine, settings=SHORTER)
