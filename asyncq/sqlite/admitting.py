"""Admitting: what a transaction does to lend calls that need what limits grant, all or nothing, or that have groups."""

from collections import deque
from typing import Any, Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.candidates import Candidate
from asyncq.sqlite.limiter import Limiter
from asyncq.sqlite.lines import Lines
from asyncq.sqlite.lives import Lending
from asyncq.sqlite.ready import Ready
from asyncq.sqlite.schema import FAR_MS, HAS_TERMS, HUNGER_FOR_ALL, READY, RUNNING
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waking import wake_hungry
from asyncq.terms import Terms, encode_terms

MAX_MOVES: Final = 1_000
"""Calls that one fetch lets stand in lines, or move between them, in one queue."""

_LINES: Final = 100
_LEAST_ROWS: Final = 250
"""That are read at once where calls go to lines: their bodies are not."""

HAVE_TERMS: Final = f"EXISTS(SELECT 1 FROM calls WHERE {HAS_TERMS})"
"""A column: whether any call has a group, or needs what limits grant. It is asked along with what is asked anyway."""

_OF_QUEUE: Final = f"""
SELECT EXISTS(SELECT 1 FROM calls WHERE queue = ?1 AND {HAS_TERMS}),
    EXISTS(SELECT 1 FROM calls WHERE queue = ?1 AND lane IS NOT NULL AND {HAS_TERMS}),
    (SELECT min(turn_ms) FROM lines WHERE queue = ?1)
"""
_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, line = NULL, holder = ?1, fetch = ?2 WHERE seq IN (SELECT value FROM json_each(?3))
RETURNING seq, id, body, priority, due_ms, crashes, blamed > ' ', terms IS NOT NULL
"""
_STAND_APART: Final = f"UPDATE calls SET state = {READY}, line = NULL WHERE seq = ?1"
_SET_TERMS: Final = "UPDATE calls SET terms = ?2 WHERE seq = ?1"


class Admissions:
    """What one fetch is lent of queues in which calls need something, or have groups.

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

    def take(self, queue: int, limit: int, suspects: int, *, are_suspects_ready: bool) -> list[Any] | None:
        """Lend no more of a queue than so many, and return a row of each; None: none of its calls has any terms."""
        if limit <= 0:
            return None
        ((have_terms, have_groups, next_ms),) = self._transaction.rows(_OF_QUEUE, (queue,))
        if not have_terms:
            return None
        lines = Lines(
            self._transaction,
            self._space,
            queue,
            have_lanes=bool(have_groups),
            next_ms=FAR_MS if next_ms is None else next_ms,
            are_any=next_ms is not None,
        )
        ready = Ready(self._transaction, queue, has_lanes=bool(have_groups), has_suspects=are_suspects_ready)
        admission = Admission(self._transaction, self._limiter, lines, ready, self._lending)
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
        ready: what stands in the queue.
        lending: to whom.
    """

    def __init__(
        self, transaction: Transaction, limiter: Limiter, lines: Lines, ready: Ready, lending: Lending
    ) -> None:
        self._transaction = transaction
        self._limiter = limiter
        self._lines = lines
        self._ready = ready
        self._lending = lending
        self._taken: list[Any] = []
        self._suspects = 0
        self._moves = MAX_MOVES

    def take(self, limit: int, suspects: int) -> list[Any]:
        """Lend no more than so many, and no more suspects among them. Returns a row of each, in order."""
        self._suspects = suspects
        if self._lines.next_ms() <= self._limiter.now_ms:
            has_others = self._join(limit)
            self._serve(-(-limit // 2) if has_others else limit)
        self._pop(limit)
        self._serve(limit)
        return self._taken

    def next_ms(self) -> int:
        """Return when there may be more; FAR_MS: not before somebody rings."""
        return self._lines.next_ms() if self._moves > 0 else 0

    def _join(self, limit: int) -> bool:
        """Let those who are about to be popped stand behind others who wait for the same. Tell whether any are left."""
        least = 1
        while self._moves > 0:
            found = self._ready.first(max(limit, least), self._suspects)
            joining: list[Candidate] = []
            places: list[tuple[int, int]] = []
            for candidate in found:
                line = self._line_to_join(self._limiter.terms_in(candidate.terms)) if candidate.terms else None
                if line is not None:
                    joining.append(candidate)
                    places.append((candidate.seq, line))
            if not joining:
                return bool(found)
            self._stand(places)
            self._ready.serve(joining)
            least = _LEAST_ROWS
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
            if head is None or head.terms is None:  # it is empty: what stands in line needs something
                continue
            terms = self._limiter.terms_in(head.terms)
            if head.is_suspect and self._suspects <= 0:
                self._stand_apart(head)
                due.append((line, limit_key))
                continue
            lacking = self._limiter.lacking(terms)
            if lacking is None:
                self._grant(head, terms)
                self._lend([head])
                self._lines.serve(line, head)
                served.add(line)
                due.append((line, limit_key))
            elif lacking.limit_key == limit_key:
                self._lines.time(line, lacking.due_ms)
                served.discard(line)
            else:
                other = self._lines.find_or_make(lacking.limit_key, lacking.due_ms)
                self._stand([(head.seq, other)])
                self._lines.serve(line, head)
                due.append((line, limit_key))
        for line in served:  # behind those that were not served
            self._lines.time(line, now_ms)
        if visited:
            self._lines.drop_empty(visited)

    def _pop(self, limit: int) -> None:
        """Lend what stands in the queue and lacks nothing, until so many are taken; the rest goes to its lines."""
        least = 1
        while len(self._taken) < limit and self._moves > 0:
            found = self._ready.first(max(limit - len(self._taken), least), self._suspects)
            if not found:
                return
            free: list[Candidate] = []
            popped: list[Candidate] = []
            standing: list[tuple[int, int]] = []
            for candidate in found:
                if len(self._taken) + len(free) >= limit:
                    break
                popped.append(candidate)
                if candidate.terms is None:
                    free.append(candidate)
                    self._suspects -= candidate.is_suspect
                    continue
                terms = self._limiter.terms_in(candidate.terms)
                line = self._line_to_join(terms)
                if line is None and (lacking := self._limiter.lacking(terms)) is not None:
                    line = self._lines.find_or_make(lacking.limit_key, lacking.due_ms)
                if line is not None:
                    standing.append((candidate.seq, line))
                    continue
                self._grant(candidate, terms)
                free.append(candidate)
            self._stand(standing)
            self._lend(free)
            self._ready.serve(popped)
            least = _LEAST_ROWS if standing else 1

    def _line_to_join(self, terms: Terms) -> int | None:
        lines = (self._lines.find(need.limit_key) for need in self._limiter.needs_of(terms))
        return next((line for line in lines if line is not None), None)

    def _stand(self, calls: list[tuple[int, int]]) -> None:
        self._moves -= len(calls)
        self._lines.stand(calls, self._limiter.now_ms)

    def _stand_apart(self, head: Candidate) -> None:
        """Let a suspect that may not be taken here wait for who may take one."""
        self._moves -= 1
        self._transaction.change(_STAND_APART, (head.seq,))
        wake_hungry(self._transaction, [self._ready.queue], 0, HUNGER_FOR_ALL)

    def _grant(self, candidate: Candidate, terms: Terms) -> None:
        self._limiter.grant(terms, candidate.seq)
        self._suspects -= candidate.is_suspect
        if terms.expires_ms:  # also without a grant: what was in a dead consumer's hands does not expire
            self._transaction.change(_SET_TERMS, (candidate.seq, encode_terms(terms.once_lent())))

    def _lend(self, calls: list[Candidate]) -> None:
        if calls:
            seqs = [call.seq for call in calls]
            rows = {row[0]: row for row in self._transaction.rows(_LEND, (*self._lending, as_json(seqs)))}
            self._taken += [rows[seq] for seq in seqs]
