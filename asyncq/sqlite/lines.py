"""The lines: where calls wait for what limits grant, and what a transaction does to let them stand there, or leave.

A line has a time of its own, that of whoever is first. One that is empty goes.
"""

from collections.abc import Iterable
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.candidates import COLUMNS, Candidate
from asyncq.sqlite.lanes import first_lanes, serve
from asyncq.sqlite.schema import FAR_MS, IS_PLAIN, LINED, PLACE_IN_LANE, READY
from asyncq.sqlite.transaction import Transaction

_FIND: Final = "SELECT id FROM lines WHERE space = ?1 AND limit_key = ?2 AND queue = ?3"
_MAKE: Final = "INSERT INTO lines(space, limit_key, queue, turn_ms) VALUES (?1, ?2, ?3, ?4) RETURNING id"
_DUE: Final = "SELECT id, limit_key FROM lines WHERE queue = ?1 AND turn_ms <= ?2 ORDER BY turn_ms, id LIMIT ?3"
_TIME: Final = "UPDATE lines SET turn_ms = ?2 WHERE id = ?1"
_NEXT_TURN: Final = "SELECT min(turn_ms) FROM lines WHERE queue = ?1"

_FIRST: Final = f"""
FROM calls WHERE line = ?1 AND state = {LINED} AND lane IS NULL ORDER BY priority DESC, due_ms, seq LIMIT 1
"""
_HEAD: Final = f"SELECT {COLUMNS} {_FIRST}"
_PLAIN_HEAD: Final = f"""
SELECT {COLUMNS} FROM calls
WHERE line = ?1 AND state = {LINED} AND lane IS NULL AND {IS_PLAIN} ORDER BY priority DESC, due_ms, seq LIMIT 1
"""
_HEAD_OF_LANE: Final = f"""
SELECT {COLUMNS} FROM calls WHERE stand = ?1 AND lane = ?2 ORDER BY {PLACE_IN_LANE}, seq LIMIT 1
"""
_PLAIN_HEAD_OF_LANE: Final = f"""
SELECT {COLUMNS} FROM calls WHERE stand = ?1 AND lane = ?2 AND {IS_PLAIN} ORDER BY {PLACE_IN_LANE}, seq LIMIT 1
"""
_LANES: Final = 20
_MOST_LANES: Final = 1_000
"""Lanes that are looked at in one step, and in all, in which nobody may stand but suspects."""
_STAND: Final = f"""
UPDATE calls SET state = {LINED}, line = json_extract(value, '$[1]')
FROM (SELECT json_extract(value, '$[0]') AS own, value FROM json_each(?1)) WHERE seq = own
"""
# Its weight may be another than that of who was first.
_TIME_FOR_HEAD: Final = f"""
UPDATE lines SET turn_ms = ?2 WHERE id = ?1 AND turn_ms > ?2 AND turn_ms < {FAR_MS}
AND (SELECT seq {_FIRST}) IN (SELECT value FROM json_each(?3))
"""
_LEAVE: Final = f"UPDATE calls SET state = {READY}, line = NULL WHERE seq = ?1"
_TIME_NEXT: Final = (
    f"UPDATE lines SET turn_ms = ?2 WHERE id = ?1 AND turn_ms > ?2 AND turn_ms < {FAR_MS} RETURNING queue"
)
_DROP_EMPTY: Final = f"""
DELETE FROM lines WHERE id IN (SELECT value FROM json_each(?1))
AND NOT EXISTS(SELECT 1 FROM calls WHERE line = lines.id AND state = {LINED})
"""

WAITING: Final = f"""
SELECT count(*) FROM lines CROSS JOIN calls ON line = lines.id AND state = {LINED} WHERE lines.queue = ?1
"""
"""How many wait in the lines of a queue."""


class Lines:
    """The lines of one queue.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        queue: the queue's.
        have_lanes: groups may take turns in them.
        next_ms: when the first is to be asked for; None: not known.
        are_any: there may be some.
    """

    def __init__(
        self,
        transaction: Transaction,
        space: int,
        queue: int,
        *,
        have_lanes: bool = False,
        next_ms: int | None = None,
        are_any: bool = True,
    ) -> None:
        self._transaction = transaction
        self._space = space
        self._queue = queue
        self._have_lanes = have_lanes
        self._next_ms = next_ms
        self._are_any = are_any
        self._known: dict[str, int | None] = {}

    def find(self, limit_key: str) -> int | None:
        """Return the line of a count, None where nobody waits for it."""
        if not self._are_any:
            return None
        if limit_key not in self._known:
            found = self._transaction.rows(_FIND, (self._space, limit_key, self._queue))
            self._known[limit_key] = found[0][0] if found else None
        return self._known[limit_key]

    def find_or_make(self, limit_key: str, due_ms: int) -> int:
        """Return the line of a count; a new one is asked for at that time."""
        line = self.find(limit_key)
        if line is None:
            ((line,),) = self._transaction.rows(_MAKE, (self._space, limit_key, self._queue, due_ms))
            self._known[limit_key] = line
            self._are_any, self._next_ms = True, None
        return line

    def due(self, now_ms: int, limit: int) -> list[tuple[int, str]]:
        """Return the lines that are to be asked for, and of which counts they are."""
        if self._next_ms is not None and self._next_ms > now_ms:
            return []
        return self._transaction.rows(_DUE, (self._queue, now_ms, limit))

    def next_ms(self) -> int:
        """Return when the next line is to be asked for; FAR_MS: there is none, or only a freed slot can help."""
        if self._next_ms is None:
            turn_ms = self._transaction.rows(_NEXT_TURN, (self._queue,))[0][0]
            self._next_ms = FAR_MS if turn_ms is None else turn_ms
        return self._next_ms

    def head(self, line: int) -> Candidate | None:
        """Return who is first in a line."""
        return _first_in_turn(self._transaction, line) if self._have_lanes else _first(self._transaction, line, _HEAD)

    def plain_head(self, line: int) -> Candidate | None:
        """Return who is first in a ledger's line of those who are no suspects.

        A lane in which only suspects are has had its turn when it is passed over, so that nobody meets many of them
        again and again.
        """
        passed: set[str] = set()
        while len(passed) < _MOST_LANES:
            lanes = first_lanes(self._transaction, line, _LANES) if self._have_lanes else []
            left = [lane for lane in lanes or [""] if lane not in passed]
            for number, lane in enumerate(left):
                sql, parameters = (_PLAIN_HEAD_OF_LANE, (line, lane)) if lane else (_PLAIN_HEAD, (line,))
                if found := self._transaction.rows(sql, parameters):
                    serve(self._transaction, line, left[:number])
                    return Candidate(*found[0])
            if not left or not lanes:
                return None
            serve(self._transaction, line, left)
            passed.update(left)
        return None

    def serve(self, line: int, head: Candidate) -> None:
        """Have the lane of who was first use up a turn."""
        if self._have_lanes:
            serve(self._transaction, line, [head.lane])

    def time(self, line: int, due_ms: int) -> None:
        """Have a line asked for at that time."""
        self._next_ms = None
        self._transaction.change(_TIME, (line, due_ms))

    def stand(self, calls: list[tuple[int, int]], now_ms: int) -> None:
        """Let calls (rows and lines) wait, each in its place. Where that is the first, its line is asked for anew."""
        if not calls:
            return
        self._next_ms = None
        self._transaction.change(_STAND, (as_json(calls),))
        seqs = [seq for seq, _ in calls]
        for line in {line for _, line in calls}:
            if not self._have_lanes:
                self._transaction.change(_TIME_FOR_HEAD, (line, now_ms, as_json(seqs)))
            elif (head := self.head(line)) is not None and head.seq in seqs:
                self._transaction.rows(_TIME_NEXT, (line, now_ms))

    def drop_empty(self, lines: Iterable[int]) -> None:
        """Drop those in which nobody waits any more."""
        _drop_empty(self._transaction, lines)
        self._known.clear()
        self._next_ms = None


def leave_line(transaction: Transaction, seq: int, line: int, now_ms: int) -> list[int]:
    """Let a call leave its line that ends or goes elsewhere; for now it is ready.

    Returns the queues whose consumers have to be woken: whoever is first by that may need less, and is asked for.
    """
    head = _first_in_turn(transaction, line)
    was_first = head is not None and head.seq == seq
    transaction.change(_LEAVE, (seq,))
    _drop_empty(transaction, [line])
    return [queue for (queue,) in transaction.rows(_TIME_NEXT, (line, now_ms))] if was_first else []


def _drop_empty(transaction: Transaction, lines: Iterable[int]) -> None:
    if left := list(lines):
        transaction.change(_DROP_EMPTY, (as_json(left),))


def _first_in_turn(transaction: Transaction, line: int) -> Candidate | None:
    for lane in first_lanes(transaction, line, 2) or [""]:
        found = transaction.rows(_HEAD_OF_LANE, (line, lane)) if lane else transaction.rows(_HEAD, (line,))
        if found:
            return Candidate(*found[0])
    return None


def _first(transaction: Transaction, line: int, sql: str) -> Candidate | None:
    found = transaction.rows(sql, (line,))
    return Candidate(*found[0]) if found else None
