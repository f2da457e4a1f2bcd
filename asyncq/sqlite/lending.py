"""Lending: what a transaction does to give a consumer the messages that it may run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.publishing import wake_for_returned
from asyncq.sqlite.schema import IS_PLAIN, IS_SUSPECT, READY, RUNNING, SCHEDULED
from asyncq.sqlite.settling import token_of
from asyncq.sqlite.uniques import END_AT_START, give_back
from asyncq.transport import SUSPECT_CRASHES, Delivery

MAX_PROMOTED: Final = 1_000
"""Messages that become ready in one transaction."""

# A row only for a member. Whether the file holds a suspect comes along, so that where there is none nobody looks for
# one; so does whether calls give back unique keys when they start.
_MEMBER: Final = f"""
SELECT EXISTS(SELECT 1 FROM calls WHERE state = {READY} AND {IS_SUSPECT}), {END_AT_START}
FROM consumers WHERE id = ?1
"""
_PROMOTE: Final = f"""
UPDATE calls SET state = {READY} WHERE seq IN (
    SELECT seq FROM calls WHERE queue = ?1 AND state = {SCHEDULED} AND due_ms <= ?2 ORDER BY due_ms LIMIT ?3
)
"""
_READY: Final = f"""
SELECT seq, id, body, priority, due_ms, crashes, blamed > ' ' FROM calls
WHERE queue = ?1 AND state = {READY} AND {IS_PLAIN}
ORDER BY priority DESC, due_ms, seq LIMIT ?2
"""
_SUSPECTS: Final = f"""
SELECT seq, id, body, priority, due_ms, crashes, blamed > ' ' FROM calls
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
UPDATE calls SET state = {READY}, holder = NULL
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
    has_suspects = bool(found[0][0])
    queues = {queue: transaction.queue(space, queue) for queue in wish.limits}
    deliveries: list[Delivery] = []
    taken: list[int] = []
    suspects = wish.suspects
    for queue, number in queues.items():
        promoted = transaction.change(_PROMOTE, (number, now_ms, MAX_PROMOTED))
        limit = min(wish.limits[queue], wish.total - len(deliveries))
        allowed = min(limit, suspects) if has_suspects or promoted else 0
        for seq, id, body, priority, _, crashes, is_doubtful in _ready(transaction, number, limit, allowed):
            taken.append(seq)
            deliveries.append(Delivery(id, queue, body, priority, token_of(seq, fetch), crashes, bool(is_doubtful)))
            suspects -= crashes >= SUSPECT_CRASHES
    if taken:
        transaction.change(_LEND, (consumer, fetch, as_json(taken)))
        if found[0][1]:
            give_back(transaction, space, [delivery.id for delivery in deliveries], at_start=True)
        return Catch(deliveries)
    due_times = [transaction.rows(_NEXT_DUE, (number,))[0][0] for number in queues.values()]
    return Catch([], min((due_ms for due_ms in due_times if due_ms is not None), default=None))


def take_back(transaction: Transaction, consumer: int, fetches: Sequence[int]) -> None:
    """Return to its place what fetches have lent whose answer never arrived."""
    parameters = (consumer, as_json(fetches))
    if lost := transaction.rows(_LOST_QUEUES, parameters):
        transaction.change(_TAKE_BACK, parameters)
        wake_for_returned(transaction, lost)


def _ready(transaction: Transaction, queue: int, limit: int, suspects: int) -> list[Any]:
    """Return the first messages of a queue that are ready, no more than so many suspects among them."""
    rows = transaction.rows(_READY, (queue, limit))
    if suspects and (others := transaction.rows(_SUSPECTS, (queue, suspects))):
        return sorted(rows + others, key=_place)[:limit]
    return rows


def _place(row: Any) -> tuple[int, int, int]:
    seq, _, _, priority, due_ms, *_ = row
    return -priority, due_ms, seq
