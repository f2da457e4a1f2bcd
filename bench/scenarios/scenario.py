"""What a scenario is: a sample of one peer, and how its figures are shown."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bench.lineup import PEERS, Broker, Peer
from bench.stage import Stage

Sample: TypeAlias = Mapping[str, float]
"""Figures by the key of their column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a sample.

    Attributes:
        heading: with its unit.
        digits: after the point.
        is_less_better: times and costs rather than rates.
    """

    key: str
    heading: str
    digits: int = 0
    is_less_better: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row of the figures.

    Attributes:
        name: on the command line.
        title: over the table.
        columns: the first is what peers are compared by.
        peers: who takes part, by name.
        measure: takes one sample.
        onlookers: those among the peers that are shown and not compared with.
        is_together: all peers are measured at the same time.
        rounds: how often; None: as often as is asked for, `times` over.
        times: more than 1 for short samples, which a neighbour on the machine easily spoils.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    peers: tuple[str, ...]
    measure: Callable[[Stage, Peer], Awaitable[Sample]]
    onlookers: frozenset[str] = frozenset()
    is_together: bool = False
    rounds: int | None = None
    times: int = 1

    @property
    def broker(self) -> Broker:
        """What has the queues in it."""
        return PEERS[self.peers[0]].broker

    def column(self, key: str) -> Column:
        return next(each for each in self.columns if each.key == key)


MICROSECONDS = 1e6
MILLISECONDS = 1e3
