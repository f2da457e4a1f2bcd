"""What a run has measured, and the file that keeps it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from bench.figures import median
from bench.lineup import Broker
from bench.scenarios import SCENARIOS, Sample, Scenario


@dataclass(slots=True)
class Results:
    """All samples of a run, by scenario and peer.

    Attributes:
        about: when, on what machine, with which versions.
        samples: in the order of the rounds.
        failures: why a sample is missing.
    """

    about: dict[str, Any]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict[str, dict[str, list[Sample]]])
    failures: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])

    def add(self, scenario: str, peer: str, sample: Sample) -> None:
        self.samples.setdefault(scenario, {}).setdefault(peer, []).append(sample)

    def add_failure(self, scenario: str, peer: str, why: str) -> None:
        self.failures.setdefault(scenario, {}).setdefault(peer, []).append(why)

    def figures(self, scenario: str, peer: str, key: str) -> Sequence[float]:
        """Return a figure of every sample; empty where none was taken."""
        return [sample[key] for sample in self.samples.get(scenario, {}).get(peer, ())]

    def median(self, scenario: str, peer: str, key: str) -> float | None:
        """Return the median of a figure; None where no sample was taken."""
        figures = self.figures(scenario, peer, key)
        return median(figures) if figures else None

    def best(self, scenario: Scenario, key: str, peers: Sequence[str]) -> float | None:
        """Return the best median among some peers; None where none of them was measured."""
        medians = [each for peer in peers if (each := self.median(scenario.name, peer, key)) is not None]
        if not medians:
            return None
        return min(medians) if scenario.column(key).is_less_better else max(medians)

    def has_all_of(self, broker: Broker) -> bool:
        """Tell whether all scenarios of a broker were measured."""
        return all(name in self.samples for name, scenario in SCENARIOS.items() if scenario.broker == broker)

    def of(self, broker: Broker) -> Self:
        """Return what was measured of one broker."""
        names = [name for name, scenario in SCENARIOS.items() if scenario.broker == broker]
        return replace(
            self,
            samples={name: self.samples[name] for name in names if name in self.samples},
            failures={name: self.failures[name] for name in names if name in self.failures},
        )

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))
