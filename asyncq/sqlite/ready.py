"""The ready: what stands in one queue, in the order in which it is popped, where groups may take turns."""

from collections.abc import Sequence
from typing import Final

from asyncq.sqlite.candidates import COLUMNS, Candidate, by_priority, candidates, in_turn
from asyncq.sqlite.lanes import first_lanes, first_of_each, serve
from asyncq.sqlite.schema import IS_ALONE, IS_SUSPECT, READY
from asyncq.sqlite.transaction import Transaction

_ALONE: Final = f"""
SELECT {COLUMNS} FROM calls WHERE queue = ?1 AND {IS_ALONE} ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_SUSPECTS: Final = f"""
SELECT {COLUMNS} FROM calls
WHERE queue = ?1 AND state = {READY} AND {IS_SUSPECT} ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""


class Ready:
    """What stands in one queue, in the order in which it is popped.

    Args:
        transaction: the transaction.
        queue: the queue's number.
        has_lanes: groups take turns in it.
        has_suspects: some may stand there.
    """

    def __init__(self, transaction: Transaction, queue: int, *, has_lanes: bool, has_suspects: bool) -> None:
        self.queue = queue
        self._transaction = transaction
        self._has_lanes = has_lanes
        self._has_suspects = has_suspects

    def first(self, limit: int, suspects: int) -> list[Candidate]:
        """Return no more than so many, not all that there are; none where there are none."""
        lanes = first_lanes(self._transaction, -self.queue, limit + 1) if self._has_lanes else []
        if not lanes:
            return self._alone(limit, suspects)
        alone = self._alone(limit, suspects) if "" in lanes else []
        served = [lane for lane in lanes if lane or alone][:limit]
        share = -(-limit // len(served))
        groups = [lane for lane in served if lane]
        found = first_of_each(self._transaction, -self.queue, groups, share) if groups else {}
        return in_turn({lane: found[lane] if lane else alone for lane in served}, limit)

    def serve(self, popped: Sequence[Candidate]) -> None:
        """Have what was popped use up the turns of its lanes."""
        if self._has_lanes:
            serve(self._transaction, -self.queue, [candidate.turn for candidate in popped])

    def _alone(self, limit: int, suspects: int) -> list[Candidate]:
        alone = candidates(self._transaction.rows(_ALONE, (self.queue, limit)))
        if suspects <= 0 or not self._has_suspects:
            return alone
        others = candidates(self._transaction.rows(_SUSPECTS, (self.queue, min(limit, suspects))))
        return sorted(alone + others, key=by_priority)[:limit]
