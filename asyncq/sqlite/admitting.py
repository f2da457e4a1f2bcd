"""Admitting: what a transaction does to lend calls of a queue some of which need what limits grant, all or nothing."""

from collections import deque
from typing import Any, Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.limiter import Limiter, needs_of
from asyncq.sqlite.lines import Head, Lines
from asyncq.sqlite.lives import Lending
from asyncq.sqlite.publishing import wake_hungry
from asyncq.sqlite.schema import FAR_MS, HUNGER_FOR_ALL, IS_PLAIN, IS_SUSPECT, NEEDS_LIMITS, READY, RUNNING
from asyncq.terms import Terms, decode_terms, encode_terms
from asyncq.transport import SUSPECT_CRASHES

MAX_MOVES: Final = 1_000
"""Calls that one fetch lets stand in lines, or move between them, in one queue."""

_LINES: Final = 100
_LEAST_ROWS: Final = 50

HAVE_NEEDS: Final = f"EXISTS(SELECT 1 FROM calls WHERE {NEEDS_LIMITS})"
"""A column that says whether any call needs what limits grant: asked along with what is asked anyway."""

_HAS_NEEDS: Final = f"SELECT EXISTS(SELECT 1 FROM calls WHERE queue = ?1 AND {NEEDS_LIMITS})"
_READY: Final = f"""
SELECT seq, priority, due_ms, crashes, terms FROM calls
WHERE queue = ?1 AND state = {READY} AND {IS_PLAIN} ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_SUSPECTS: Final = f"""
SELECT seq, priority, due_ms, crashes, terms FROM calls
WHERE queue = ?1 AND state = {READY} AND {IS_SUSPECT} ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, line = NULL, holder = ?1, fetch = ?2 WHERE seq IN (SELECT value FROM json_each(?3))
"""
_STAND_APART: Final = f"UPDATE calls SET state = {READY}, line = NULL WHERE seq = ?1"
_SET_TERMS: Final = "UPDATE calls SET terms = ?2 WHERE seq = ?1"
_LENT: Final = """
SELECT seq, id, body, priority, due_ms, crashes, blamed > ' ', terms IS NOT NULL FROM calls
WHERE seq IN (SELECT value FROM json_each(?1))
"""


class Admissions:
    """What one fetch is lent of queues in which calls need something.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        lending: to whom.
        now_ms: the time.
    """

    def __init__(self, transaction: Transaction, space: int, lending: Lending, now_ms: int) -> None:
        self._transaction = transaction
        self._space = space
        self._lending = lending
        self._limiter = Limiter(transaction, space, now_ms)
        self._admissions: dict[int, Admission] = {}

    def take(self, queue: int, limit: int, suspects: int) -> list[Any] | None:
        """Lend no more of a queue than so many. Returns a row of each, None where no call needs anything."""
        if limit <= 0 or not self._transaction.rows(_HAS_NEEDS, (queue,))[0][0]:
            return None
        lines = Lines(self._transaction, self._space, queue)
        admission = Admission(self._transaction, self._limiter, lines, queue, self._lending)
        self._admissions[queue] = admission
        return admission.take(limit, suspects)

    def finish(self, *, are_others_rung: bool) -> list[int]:
        """Write down what was granted; return when lines are to be asked for.

        `are_others_rung`: those who wait are told, too, for it may be long until this one comes again.
        """
        self._limiter.write()
        turns = {queue: admission.next_ms() for queue, admission in self._admissions.items()}
        turns = {queue: turn_ms for queue, turn_ms in turns.items() if turn_ms < FAR_MS}
        for queue, turn_ms in turns.items() if are_others_rung else ():
            due_ms = turn_ms if turn_ms > self._limiter.now_ms else 0
            wake_hungry(self._transaction, [queue], due_ms, besides=self._lending.holder)
        return list(turns.values())


class Admission:
    """Lends calls of one queue, in one fetch.

    What stands in the queue is asked for when it is popped, and lines when their times come, up to half of what is
    lent while there are others.

    Args:
        transaction: the transaction.
        limiter: of the fetch.
        lines: of the queue.
        queue: the queue's number.
        lending: to whom.
    """

    def __init__(self, transaction: Transaction, limiter: Limiter, lines: Lines, queue: int, lending: Lending) -> None:
        self._transaction = transaction
        self._limiter = limiter
        self._lines = lines
        self._queue = queue
        self._lending = lending
        self._taken: list[int] = []
        self._suspects = 0
        self._moves = MAX_MOVES

    def take(self, limit: int, suspects: int) -> list[Any]:
        """Lend no more than so many, and no more suspects among them. Returns a row of each, in order."""
        self._suspects = suspects
        has_others = self._join(limit)
        self._serve(-(-limit // 2) if has_others else limit)
        self._pop(limit)
        self._serve(limit)
        rows = {row[0]: row for row in self._transaction.rows(_LENT, (as_json(self._taken),))} if self._taken else {}
        return [rows[seq] for seq in self._taken]

    def next_ms(self) -> int:
        """Return when there may be more; FAR_MS: not before somebody rings."""
        return self._lines.next_ms() if self._moves > 0 else 0

    def _join(self, limit: int) -> bool:
        """Let those who are about to be popped stand behind others who wait for the same. Tell whether any are left."""
        while self._moves > 0:
            joining: list[tuple[int, int]] = []
            rows = self._ready(limit)
            for seq, *_, terms in rows:
                line = self._line_to_join(decode_terms(terms)) if terms else None
                if line is not None:
                    joining.append((seq, line))
            if not joining:
                return bool(rows)
            self._stand(joining)
        return True

    def _serve(self, limit: int) -> None:
        """Lend the heads of lines whose time has come, which take turns, until so many are taken."""
        if len(self._taken) >= limit:
            return
        now_ms = self._limiter.now_ms
        due = deque(self._lines.due(now_ms, _LINES))
        visited = [line for line, _ in due]
        served: set[int] = set()
        while due and len(self._taken) < limit and self._moves > 0:
            line, limit_key = due.popleft()
            head = self._lines.head(line)
            if head is None:
                continue
            terms = decode_terms(head.terms)
            if head.crashes >= SUSPECT_CRASHES and self._suspects <= 0:
                self._stand_apart(head)
                due.append((line, limit_key))
                continue
            lacking = self._limiter.lacking(terms)
            if lacking is None:
                self._grant(head.seq, terms, head.crashes)
                self._lend([head.seq])
                served.add(line)
                due.append((line, limit_key))
            elif lacking.limit_key == limit_key:
                self._lines.time(line, lacking.due_ms)
                served.discard(line)
            else:
                other = self._lines.find_or_make(lacking.limit_key, lacking.due_ms)
                self._stand([(head.seq, other)])
                due.append((line, limit_key))
        for line in served:  # behind those that were not served
            self._lines.time(line, now_ms)
        self._lines.drop_empty(visited)

    def _pop(self, limit: int) -> None:
        """Lend what stands in the queue and lacks nothing, until so many are taken; the rest goes to its lines."""
        while len(self._taken) < limit and self._moves > 0:
            rows = self._ready(max(limit - len(self._taken), _LEAST_ROWS))
            if not rows:
                return
            free: list[int] = []
            standing: list[tuple[int, int]] = []
            for seq, _, _, crashes, text in rows:
                if len(self._taken) + len(free) >= limit:
                    break
                if text is None:
                    free.append(seq)
                    self._suspects -= crashes >= SUSPECT_CRASHES
                    continue
                terms = decode_terms(text)
                line = self._line_to_join(terms)
                if line is None and (lacking := self._limiter.lacking(terms)) is not None:
                    line = self._lines.find_or_make(lacking.limit_key, lacking.due_ms)
                if line is not None:
                    standing.append((seq, line))
                    continue
                self._grant(seq, terms, crashes)
                free.append(seq)
            self._stand(standing)
            self._lend(free)

    def _ready(self, limit: int) -> list[Any]:
        rows = self._transaction.rows(_READY, (self._queue, limit))
        suspects = min(limit, self._suspects)
        if suspects > 0 and (others := self._transaction.rows(_SUSPECTS, (self._queue, suspects))):
            return sorted(rows + others, key=_place)[:limit]
        return rows

    def _line_to_join(self, terms: Terms) -> int | None:
        lines = (self._lines.find(need.limit_key) for need in needs_of(terms))
        return next((line for line in lines if line is not None), None)

    def _stand(self, calls: list[tuple[int, int]]) -> None:
        self._moves -= len(calls)
        self._lines.stand(calls, self._limiter.now_ms)

    def _stand_apart(self, head: Head) -> None:
        """Let a suspect that may not be taken here wait for who may take one."""
        self._moves -= 1
        self._transaction.change(_STAND_APART, (head.seq,))
        wake_hungry(self._transaction, [self._queue], 0, HUNGER_FOR_ALL)

    def _grant(self, seq: int, terms: Terms, crashes: int) -> None:
        self._limiter.grant(terms, seq)
        self._suspects -= crashes >= SUSPECT_CRASHES
        if terms.expires_ms:  # also without a grant: what was in a dead consumer's hands does not expire
            self._transaction.change(_SET_TERMS, (seq, encode_terms(terms.once_lent())))

    def _lend(self, seqs: list[int]) -> None:
        if seqs:
            self._transaction.change(_LEND, (*self._lending, as_json(seqs)))
            self._taken += seqs


def _place(row: Any) -> tuple[int, int, int]:
    seq, priority, due_ms, *_ = row
    return -priority, due_ms, seq
