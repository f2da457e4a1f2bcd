"""Lending: what a transaction does to give a consumer the messages that it may run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from asyncq.sqlite.admitting import HAVE_TERMS, Admissions
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.freeing import free_of_fetches
from asyncq.sqlite.lanes import first_lanes
from asyncq.sqlite.lives import Lending
from asyncq.sqlite.schema import HANDED_BACK, IS_ALONE, IS_SUSPECT, READY, RUNNING, SCHEDULED
from asyncq.sqlite.settling import token_of
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import END_AT_START, give_back
from asyncq.sqlite.waking import wake_for_returned
from asyncq.transport import SUSPECT_CRASHES, Delivery

MAX_PROMOTED: Final = 1_000
"""Messages of a queue that become ready in one transaction."""

MORE_PROMOTED: Final = 4_000
"""How many more do where groups take turns: who comes behind the many of another must not wait until somebody has
fetched often enough."""

# A row only for a member. Whether the file holds a suspect comes along, so that where there is none nobody looks for
# one; so does whether calls give back unique keys when they start, and whether any has a group or needs what limits
# grant.
_MEMBER: Final = f"""
SELECT EXISTS(SELECT 1 FROM calls WHERE state = {READY} AND {IS_SUSPECT}), {END_AT_START}, {HAVE_TERMS}
FROM consumers WHERE id = ?1
"""
_PROMOTE: Final = f"""
UPDATE calls SET state = {READY} WHERE seq IN (
    SELECT seq FROM calls WHERE queue = ?1 AND state = {SCHEDULED} AND due_ms <= ?2 ORDER BY due_ms LIMIT ?3
)
"""
_READY: Final = f"""
SELECT seq, id, body, priority, due_ms, crashes, blamed > ' ', 0 FROM calls
WHERE queue = ?1 AND {IS_ALONE}
ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_SUSPECTS: Final = f"""
SELECT seq, id, body, priority, due_ms, crashes, blamed > ' ', 0 FROM calls
WHERE queue = ?1 AND state = {READY} AND {IS_SUSPECT}
ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, holder = ?1, fetch = ?2 WHERE seq IN (SELECT value FROM json_each(?3))
"""
_NEXT_DUE: Final = f"SELECT min(due_ms) FROM calls WHERE queue = ?1 AND state = {SCHEDULED}"

_LOST_QUEUES: Final = f"""
SELECT DISTINCT queue, {IS_SUSPECT} FROM calls
WHERE state = {RUNNING} AND holder = ?1 AND fetch IN (SELECT value FROM json_each(?2))
"""
_TAKE_BACK: Final = f"""
UPDATE calls SET {HANDED_BACK}
WHERE state = {RUNNING} AND holder = ?1 AND fetch IN (SELECT value FROM json_each(?2))
"""


class Wish(NamedTuple):
    """What a consumer would take.

    Attributes:
        limits: how many of each queue; none of them 0.
        total: how many in all.
        suspects: how many of them may be suspects.
    """

    limits: Mapping[str, int]
    total: int
    suspects: int


class Catch(NamedTuple):
    """What one look at the queues brought.

    Attributes:
        deliveries: what was taken.
        due_ms: when there may be more; None: not before somebody rings.
    """

    deliveries: list[Delivery]
    due_ms: int | None = None


def take(transaction: Transaction, space: int, consumer: int, fetch: int, wish: Wish, now_ms: int) -> Catch | None:
    """Lend a consumer what is ready. Returns None where it is no member any more.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        consumer: the consumer's number.
        fetch: which of its fetches this is.
        wish: what it would take.
        now_ms: the time.
    """
    found = transaction.rows(_MEMBER, (consumer,))
    if not found:
        return None
    has_suspects, are_keys_given_back, have_terms = map(bool, found[0])
    queues = {queue: transaction.queue(space, queue) for queue in wish.limits}
    deliveries: list[Delivery] = []
    taken: list[int] = []
    suspects = wish.suspects
    office = Admissions(transaction, space, Lending(consumer, fetch), now_ms) if have_terms else None
    for queue, number in queues.items():
        promoted = _promote(transaction, number, now_ms, have_terms=have_terms)
        limit = min(wish.limits[queue], wish.total - len(deliveries))
        allowed = min(limit, suspects)
        may_be_ready = has_suspects or promoted > 0  # apart from those that stand in lines
        rows = office.take(number, limit, allowed, are_suspects_ready=may_be_ready) if office else None
        if rows is None:
            rows = _ready(transaction, number, limit, allowed if may_be_ready else 0)
            taken += [row[0] for row in rows]
        deliveries += [_delivery(queue, fetch, *row) for row in rows]
        suspects -= sum(crashes >= SUSPECT_CRASHES for _, _, _, _, _, crashes, *_ in rows)
    if taken:
        transaction.change(_LEND, (consumer, fetch, as_json(taken)))
    turns = office.finish(are_others_rung=bool(deliveries)) if office else []
    if deliveries:
        if are_keys_given_back:
            give_back(transaction, space, [delivery.id for delivery in deliveries], at_start=True)
        return Catch(deliveries)
    due_times = [transaction.rows(_NEXT_DUE, (number,))[0][0] for number in queues.values()]
    return Catch([], min((due_ms for due_ms in (*due_times, *turns) if due_ms is not None), default=None))


def take_back(transaction: Transaction, consumer: int, fetches: Sequence[int], now_ms: int) -> None:
    """Return to its place what fetches have lent whose answer never arrived."""
    parameters = (consumer, as_json(fetches))
    if lost := transaction.rows(_LOST_QUEUES, parameters):
        free_of_fetches(transaction, consumer, fetches, now_ms)
        transaction.change(_TAKE_BACK, parameters)
        wake_for_returned(transaction, lost)


def _promote(transaction: Transaction, queue: int, now_ms: int, *, have_terms: bool) -> int:
    """Let what is due be ready; return how many."""
    promoted = transaction.change(_PROMOTE, (queue, now_ms, MAX_PROMOTED))
    if promoted == MAX_PROMOTED and have_terms and first_lanes(transaction, -queue, 1):
        promoted += transaction.change(_PROMOTE, (queue, now_ms, MORE_PROMOTED))
    return promoted


def _ready(transaction: Transaction, queue: int, limit: int, suspects: int) -> list[Any]:
    """Return the first messages of a queue that are ready, no more than so many suspects among them."""
    rows = transaction.rows(_READY, (queue, limit))
    if suspects and (others := transaction.rows(_SUSPECTS, (queue, suspects))):
        return sorted(rows + others, key=_place)[:limit]
    return rows


def _delivery(
    queue: str,
    fetch: int,
    seq: int,
    id: str,
    body: bytes,
    priority: int,
    _: int,
    crashes: int,
    is_doubtful: int | None,
    has_terms: int,
) -> Delivery:
    token = token_of(seq, fetch)
    return Delivery(id, queue, body, priority, token, crashes, bool(is_doubtful), bool(has_terms))


def _place(row: Any) -> tuple[int, int, int]:
    seq, _, _, priority, due_ms, *_ = row
    return -priority, due_ms, seq
