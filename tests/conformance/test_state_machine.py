"""Random series of steps on memory; the other brokers pass the suites, and the same machine where it pays."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from asyncq.testing.conformance import Backend
from tests.conformance.backends import MovedMemory
from tests.conformance.machine import SettlementMachine

SHORT = settings(
    max_examples=40, stateful_step_count=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


class MemoryMachine(SettlementMachine):
    can_move_time = True

    def make_backend(self) -> Backend:
        return MovedMemory()


def test_memory_agrees_with_the_model() -> None:
    """After any steps, wrong and repeated ones among them, memory holds what a model of a few lines holds."""
    run_state_machine_as_test(MemoryMachine, settings=SHORT)
