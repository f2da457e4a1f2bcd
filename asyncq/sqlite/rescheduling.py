"""Rescheduling: what a transaction does to give a call that waits another body, or another time."""

from typing import Final

from asyncq.sqlite.lines import leave_line
from asyncq.sqlite.schema import LINED, READY, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waking import wake_for_turns, wake_hungry
from asyncq.terms import decode_terms, encode_terms

_FIND: Final = f"""
SELECT seq, terms, CASE state WHEN {LINED} THEN line END FROM calls
WHERE id = ?1 AND space = ?2 AND queue = ?3 AND state IN ({READY}, {SCHEDULED}, {LINED}) AND body = ?4
"""
_MOVE: Final = "UPDATE calls SET state = ?2, due_ms = ?3, body = ?4, terms = ?5 WHERE seq = ?1"


def reschedule(
    transaction: Transaction,
    space: int,
    id: str,
    queue: str,
    read: bytes,
    body: bytes,
    due_ms: int,
    expires_ms: int,
    now_ms: int,
) -> bool:
    """Move a call that waits as it was read; return whether it does."""
    number = transaction.queue(space, queue)
    state = SCHEDULED if due_ms > now_ms else READY
    found = transaction.rows(_FIND, (id, space, number, read))
    if not found:
        return False
    ((seq, terms, line),) = found
    if terms is not None:
        terms = encode_terms(decode_terms(terms).expiring(expires_ms))
    if line is not None:
        wake_for_turns(transaction, leave_line(transaction, seq, line, now_ms))
    place_ms = max(due_ms, now_ms + 1)  # behind all that have become ready until now, however fast this was
    transaction.change(_MOVE, (seq, state, place_ms, body, terms))
    wake_hungry(transaction, [number], due_ms if due_ms > now_ms else 0)
    return True
