"""The candidates: calls that a fetch may lend, as they are read where some need what limits grant, or have groups."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from asyncq.terms import PRIORITY_STEP_MS
from asyncq.transport import SUSPECT_CRASHES

COLUMNS: Final = "seq, priority, due_ms, crashes, terms, ifnull(lane, '')"


class Candidate(NamedTuple):
    """A call that waits.

    Attributes:
        seq: its row.
        priority, crashes: as in `Delivery`.
        due_ms: with `seq`, its place among those of its priority.
        terms: what it needs, encoded; None: nothing.
        lane: its group; empty: none.
    """

    seq: int
    priority: int
    due_ms: int
    crashes: int
    terms: str | None
    lane: str

    @property
    def is_suspect(self) -> bool:
        """Whether it may be lent to few only."""
        return self.crashes >= SUSPECT_CRASHES

    @property
    def turn(self) -> str:
        """The lane whose turn it uses up where it is ready: suspects stand among those without a group."""
        return "" if self.is_suspect else self.lane


def candidates(rows: Iterable[Any]) -> list[Candidate]:
    """Return what was read."""
    return [Candidate(*row) for row in rows]


def by_priority(candidate: Candidate) -> tuple[int, int, int]:
    """Return the place of a call among those without a group."""
    return -candidate.priority, candidate.due_ms, candidate.seq


def by_waiting(candidate: Candidate) -> tuple[int, int]:
    """Return the place of a call in the lane of its group, by the rule of `schema.PLACE_IN_LANE`."""
    return candidate.due_ms - PRIORITY_STEP_MS * candidate.priority, candidate.seq


def in_turn(lanes: Mapping[str, Sequence[Candidate]], limit: int) -> list[Candidate]:
    """Return no more than so many, one of each lane in turn, whatever they have left."""
    waiting = deque(deque(lane) for lane in lanes.values() if lane)
    found: list[Candidate] = []
    while waiting and len(found) < limit:
        lane = waiting.popleft()
        found.append(lane.popleft())
        if lane:
            waiting.append(lane)
    return found
