"""What is measured, in the order in which it is reported."""

from collections.abc import Mapping

from bench.scenarios import (
    backlog,
    delayed,
    drain,
    embedded,
    enqueue,
    idle,
    limits,
    memory,
    rabbitmq,
    round_trip,
    scheduled,
)
from bench.scenarios.scenario import Column, Sample, Scenario

__all__ = ["SCENARIOS", "Column", "Sample", "Scenario"]

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for module in (enqueue, drain, round_trip, delayed, idle, memory, backlog, scheduled, limits, embedded, rabbitmq)
    for scenario in module.SCENARIOS
}
