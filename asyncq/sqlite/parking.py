"""Parking: what a transaction does to lend a ledger's calls that need what limits grant, or to let them wait for it."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncq.ledger import AFTER_PARKING_MS, PUT_OFF_MS, Copy, Lent, Parked, Turns
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.lanes import filed, unfiled
from asyncq.sqlite.limiter import Lacking, Limiter, Need, needs_of
from asyncq.sqlite.lines import Lines, leave_line
from asyncq.sqlite.lives import Known, Lending, become, begin, copy_in, remember
from asyncq.sqlite.schema import FAR_MS, HAS_TERMS, READY, RUNNING
from asyncq.sqlite.settling import token_of
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import END_AT_START, give_back
from asyncq.sqlite.waking import wake_for_turns
from asyncq.terms import Terms
from asyncq.transport import SUSPECT_CRASHES

MAX_MOVES: Final = 1_000
"""Calls of one queue that one question moves, or lends."""

OWN: Final = ""
"""The key of the line of a queue itself, in which a turn is always there."""

_LINES: Final = 100

_MEMBER: Final = f"SELECT {END_AT_START} FROM consumers WHERE id = ?1"
_SET_TERMS: Final = "UPDATE calls SET terms = ?2, lane = ?3 WHERE seq = ?1"
_NOT_REOPENED: Final = "UPDATE calls SET is_reopened = 0, orphaned_ms = NULL WHERE seq = ?1"
_FORGET_CLAIM: Final = "DELETE FROM claims WHERE space = ?1 AND id = ?2"
_PARKED: Final = "UPDATE calls SET orphaned_ms = NULL WHERE seq = ?1"
_HAVE_LANES: Final = f"SELECT 1 FROM calls WHERE queue = ?1 AND lane IS NOT NULL AND {HAS_TERMS} LIMIT 1"
_ARE_LINES: Final = "SELECT EXISTS(SELECT 1 FROM lines WHERE queue = ?1)"
_TURN: Final = "SELECT turn_ms FROM lines WHERE id = ?1"
_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, line = NULL, holder = ?1, fetch = ?2, orphaned_ms = NULL, is_reopened = 0,
    is_changed = 0
WHERE seq IN (SELECT value FROM json_each(?3))
"""
_ORPHAN: Final = f"""
UPDATE calls SET orphaned_ms = ?3
WHERE state = {RUNNING} AND holder = ?1 AND fetch IN (SELECT value FROM json_each(?2))
"""
_LENT: Final = """
SELECT seq, calls.id, body, priority, generation, terms, lane, crashes, blamed > ' ' FROM calls
WHERE seq IN (SELECT value FROM json_each(?1))
"""


class Parking:
    """Grants what copies need that have come, or lets their calls wait.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        now_ms: the time.
        have_groups: some of the copies do.

    Attributes:
        begun: ids of the calls that begin by that.
    """

    def __init__(self, transaction: Transaction, space: int, now_ms: int, *, have_groups: bool) -> None:
        self.begun: list[str] = []
        self._have_groups = have_groups
        self._called: set[str] = set()
        self._transaction = transaction
        self._space = space
        self._now_ms = now_ms
        self._limiter = Limiter(transaction, space, now_ms)
        self._lines: dict[str, Lines] = {}

    def ask(self, copy: Copy, call: Known, terms: Terms, *, is_put_off: bool) -> tuple[Known, Parked | None]:
        """Return the call as it is now, which is not lent yet, and why it is not to be lent; None: it is granted.

        `is_put_off`: nobody has time for it.
        """
        call = self._noted(copy, call)
        text, lane = filed(terms)
        if (text, lane) != (call.terms, call.lane):
            self._transaction.change(_SET_TERMS, (call.seq, text, lane))
            call = call._replace(terms=text, lane=lane)
        line = call.line
        if line is None:
            lacking = self._lacking(copy.queue, call, terms, is_put_off=is_put_off)
            if lacking is None:
                self._limiter.grant(terms, call.seq)
                if terms.expires_ms:  # also without a grant: what was in a dead holder's hands does not expire
                    self._transaction.change(_SET_TERMS, (call.seq, *filed(terms.once_lent())))
                return call, None
            line = _stand(self._lines_of(copy.queue), call.seq, lacking, self._now_ms)
            if is_put_off:
                self._call(copy.queue, line)
        self._transaction.change(_PARKED, (call.seq,))
        remember(self._transaction, self._space, copy.id, self._now_ms + AFTER_PARKING_MS)
        turn_ms: int = self._transaction.rows(_TURN, (line,))[0][0]
        return call._replace(line=line), Parked(None if turn_ms >= FAR_MS else turn_ms)

    def write(self) -> None:
        """Write down what was granted."""
        self._limiter.write()

    def _noted(self, copy: Copy, call: Known) -> Known:
        """Return the call as its copy says it is."""
        if not call.seq:
            seq = begin(self._transaction, self._space, [copy], READY, self._now_ms, None)[copy.id]
            self._transaction.change(_NOT_REOPENED, (seq,))
            self._transaction.change(_FORGET_CLAIM, (self._space, copy.id))
            self.begun.append(copy.id)
            return Known(seq, copy.generation, 0, False, None, None, None, None)
        if copy.generation > call.generation:
            if call.line is not None:
                queues = leave_line(self._transaction, call.seq, call.line, self._now_ms)
                wake_for_turns(self._transaction, queues)
            become(self._transaction, [(call.seq, copy.priority, copy.generation, copy.body)])
            return call._replace(generation=copy.generation, line=None, changed_to=None)
        return call

    def _lacking(self, queue: str, call: Known, terms: Terms, *, is_put_off: bool) -> Lacking | None:
        """Return what a call has to wait for, also where others do who were first; None: it lacks nothing."""
        if is_put_off:
            return Lacking(OWN, self._now_ms)
        lines, needs = self._lines_of(queue), needs_of(terms)
        if terms.group and lines.find(OWN) is not None:
            return Lacking(OWN, FAR_MS)
        if (behind := _behind_others(lines, needs)) is not None:
            return behind
        if call.crashes >= SUSPECT_CRASHES and (needs or terms.group):
            return Lacking(needs[0].limit_key if needs else OWN, self._now_ms)
        return self._limiter.lacking(terms)

    def _call(self, queue: str, line: int) -> None:
        """Have the line of a queue itself asked for, by whoever has time."""
        self._lines_of(queue).time(line, self._now_ms)
        if queue not in self._called:
            self._called.add(queue)
            wake_for_turns(self._transaction, [self._transaction.queue(self._space, queue)])

    def _lines_of(self, queue: str) -> Lines:
        if queue not in self._lines:
            number = self._transaction.queue(self._space, queue)
            self._lines[queue] = Lines(self._transaction, self._space, number, have_lanes=self._have_groups)
        return self._lines[queue]


class Service:
    """Lends calls of one queue whose turn has come.

    Args:
        transaction: the transaction.
        limiter: of the question.
        lines: of the queue.
        suspects: how many may be lent.

    Attributes:
        is_cut: there may be more than one question moves.
    """

    def __init__(self, transaction: Transaction, limiter: Limiter, lines: Lines, suspects: int) -> None:
        self.suspects = suspects
        self.is_cut = False
        self._transaction = transaction
        self._limiter = limiter
        self._lines = lines

    def lend(self, limit: int, lending: Lending) -> list[int]:
        """Lend heads of lines whose time has come, which take turns, no more than so many. Returns their rows."""
        now_ms = self._limiter.now_ms
        due = deque(self._lines.due(now_ms, _LINES) if limit > 0 else ())
        visited = [line for line, _ in due]
        served: set[int] = set()
        taken: list[int] = []
        for _ in range(MAX_MOVES):
            if not due or len(taken) >= limit:
                break
            line, limit_key = due.popleft()
            head = self._lines.head(line) if self.suspects > 0 else self._lines.plain_head(line)
            if head is None:  # an empty line goes
                self._lines.time(line, now_ms + PUT_OFF_MS)
                continue
            terms = unfiled(head.terms, head.lane) or Terms()
            lacking = self._lacking(limit_key, terms)
            if lacking is not None and lacking.limit_key == limit_key:
                self._lines.time(line, lacking.due_ms)
                served.discard(line)
                continue
            due.append((line, limit_key))
            if lacking is not None:
                _stand(self._lines, head.seq, lacking, now_ms)
                self._lines.serve(line, head)
                continue
            self._limiter.grant(terms, head.seq)
            if terms.expires_ms:
                self._transaction.change(_SET_TERMS, (head.seq, *filed(terms.once_lent())))
            self._transaction.change(_LEND, (*lending, as_json([head.seq])))
            self._lines.serve(line, head)
            self.suspects -= head.crashes >= SUSPECT_CRASHES
            served.add(line)
            taken.append(head.seq)
        else:
            self.is_cut = True
        for line in served:  # behind those that were not served
            self._lines.time(line, now_ms)
        self._lines.drop_empty(visited)
        return taken

    def _lacking(self, limit_key: str, terms: Terms) -> Lacking | None:
        """Return what the head of a line lacks; in that of the queue itself, also where others wait who were first."""
        if limit_key == OWN and (behind := _behind_others(self._lines, self._limiter.needs_of(terms))) is not None:
            return behind
        return self._limiter.lacking(terms)


def take_turns(
    transaction: Transaction,
    space: int,
    lending: Lending,
    limits: Mapping[str, int],
    count: int,
    suspects: int,
    now_ms: int,
) -> Turns | None:
    """Lend calls that were parked and whose turn has come, as `Holder.take_turns` does.

    Returns None where the holder is no member any more.
    """
    member = transaction.rows(_MEMBER, (lending.holder,))
    if not member:
        return None
    limiter = Limiter(transaction, space, now_ms)
    lent: list[tuple[Copy, Lent]] = []
    first_ms, are_waiting = FAR_MS, False
    for queue, limit in limits.items():
        number = transaction.queue(space, queue)
        have_lanes = limit > 0 and bool(transaction.rows(_HAVE_LANES, (number,)))
        lines = Lines(transaction, space, number, have_lanes=have_lanes)
        service = Service(transaction, limiter, lines, suspects)
        taken = service.lend(min(limit, count - len(lent)), lending)
        suspects = service.suspects
        lent += _lent(transaction, queue, taken, lending.fetch)
        first_ms = 0 if service.is_cut else min(first_ms, lines.next_ms())
        are_waiting = are_waiting or bool(transaction.rows(_ARE_LINES, (number,))[0][0])
    limiter.write()
    if lent and member[0][0]:
        give_back(transaction, space, [copy.id for copy, _ in lent], at_start=True)
    return Turns(lent, None if first_ms >= FAR_MS else first_ms, are_waiting)


def _behind_others(lines: Lines, needs: Sequence[Need]) -> Lacking | None:
    """Return the first of these for which others wait."""
    waited = (need.limit_key for need in needs if lines.find(need.limit_key) is not None)
    return next((Lacking(limit_key, FAR_MS) for limit_key in waited), None)


def _stand(lines: Lines, seq: int, lacking: Lacking, now_ms: int) -> int:
    """Let a call stand in the line of what it lacks, which is asked for then if it is new. Returns the line."""
    is_new = lines.find(lacking.limit_key) is None
    line = lines.find_or_make(lacking.limit_key, lacking.due_ms)
    lines.stand([(seq, line)], now_ms)
    if is_new:  # who has come to the head of one that was there is asked for now
        lines.time(line, lacking.due_ms)
    return line


def give_up_turns(transaction: Transaction, holder: int, fetches: Sequence[int], now_ms: int) -> None:
    """Let be orphans what questions have lent whose answer never arrived, before it is taken back.

    There may be nobody with a copy.
    """
    transaction.change(_ORPHAN, (holder, as_json(fetches), now_ms))


def _lent(transaction: Transaction, queue: str, seqs: Sequence[int], fetch: int) -> list[tuple[Copy, Lent]]:
    rows: dict[int, Any] = {row[0]: row for row in transaction.rows(_LENT, (as_json(seqs),))} if seqs else {}
    lent: list[tuple[Copy, Lent]] = []
    for seq in seqs:
        _, id, body, priority, generation, terms, lane, crashes, is_doubtful = rows[seq]
        copy = copy_in(id, queue, body, priority, generation, 0, terms, lane)
        lent.append((copy, Lent(token_of(seq, fetch), crashes, bool(is_doubtful), has_terms=terms is not None)))
    return lent
