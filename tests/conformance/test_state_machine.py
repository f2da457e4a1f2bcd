"""Random series of steps against a model: what the suites, which go from claim to claim, would not think of."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from asyncq.testing.conformance import Backend
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

        def make_backend(self) -> Backend:
            return MovedMemory()

    run_state_machine_as_test(Machine, settings=LONG)


def test_sqlite_agrees_with_the_model() -> None:
    """After any steps, wrong and repeated ones among them, SQLite holds what the model holds."""

    class Machine(SettlementMachine):
        def make_backend(self) -> Backend:
            self.folder = tempfile.TemporaryDirectory()
            return SQLite(Path(self.folder.name) / "asyncq.db")

        def teardown(self) -> None:
            super().teardown()
            self.folder.cleanup()

    run_state_machine_as_test(Machine, settings=SHORT)


def test_redis_agrees_with_the_model(redis_url: str) -> None:
    """After any steps, wrong and repeated ones among them, Redis holds what the model holds."""

    class Machine(SettlementMachine):
        def make_backend(self) -> Backend:
            return Redis(redis_url)

    run_state_machine_as_test(Machine, settings=SHORT)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_rabbitmq_agrees_with_the_model(rabbitmq_url: str, redis_url: str, tmp_path: Path, store: str) -> None:
    """After any steps, wrong and repeated ones among them, RabbitMQ and its store hold what the model holds."""

    class Machine(TravellingMachine):
        def make_backend(self) -> Backend:
            memory = Redis(redis_url) if store == "redis" else SQLite(tmp_path / "asyncq.db")
            return RememberingRabbitMQ(rabbitmq_url, memory)

    run_state_machine_as_test(Machine, settings=SHORTER)
