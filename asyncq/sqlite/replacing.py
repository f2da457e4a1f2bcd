"""Replacing: what a transaction does to let a call that waits be what a later one of its unique key would have been."""

from collections.abc import Iterable
from typing import Final

from asyncq.sqlite.lanes import filed
from asyncq.sqlite.lines import leave_line
from asyncq.sqlite.schema import LINED, READY, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Envelope, KeyOwner

_WAITING: Final = f"""
SELECT seq, state, due_ms, queue, terms, lane, line FROM calls
WHERE id = ?1 AND space = ?2 AND state IN ({READY}, {SCHEDULED}, {LINED})
"""
_REPLACE: Final = "UPDATE calls SET body = ?2, terms = ?3, lane = ?4, state = ?5, due_ms = ?6 WHERE seq = ?1"


def replace(
    transaction: Transaction, space: int, replacements: Iterable[tuple[KeyOwner, Envelope]], now_ms: int
) -> dict[int, int]:
    """Give waiting owners of keys new bodies, and new due times where that is asked for.

    Returns:
        The queues whose consumers have to be woken, by number, and for when; 0: now.
    """
    wakes: dict[int, int] = {}
    for owner, envelope in replacements:
        term = envelope.unique
        if term is None or not term.replaces:
            continue
        new = filed(envelope.terms)
        for seq, state, due_ms, queue, terms, lane, line in transaction.rows(_WAITING, (owner.id, space)):
            place = state, due_ms
            moved_ms = term.put_off(envelope.due_ms, owner.taken_ms)
            is_moved = term.moves and (moved_ms > now_ms or state == SCHEDULED)
            if is_moved:
                place = SCHEDULED if moved_ms > now_ms else READY, max(moved_ms, now_ms)
                wake_ms = moved_ms if moved_ms > now_ms else 0
                wakes[queue] = min(wakes.get(queue, wake_ms), wake_ms)
            if state == LINED and (is_moved or new != (terms, lane)):  # the next fetch finds it its line, or lends it
                wakes.update(dict.fromkeys([queue, *leave_line(transaction, seq, line, now_ms)], 0))
                place = place if is_moved else (READY, due_ms)
            transaction.change(_REPLACE, (seq, term.renamed(envelope.body, owner.id), *new, *place))
    return wakes
