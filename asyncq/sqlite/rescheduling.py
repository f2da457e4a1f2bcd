"""Rescheduling: what a transaction does to give a call that waits another body, or another time."""

from typing import Final

from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.publishing import wake_hungry
from asyncq.sqlite.schema import READY, SCHEDULED

_MOVE: Final = f"""
UPDATE calls SET state = ?6, due_ms = ?7, body = ?5
WHERE id = ?1 AND space = ?2 AND queue = ?3 AND state IN ({READY}, {SCHEDULED}) AND body = ?4
"""


def reschedule(
    transaction: Transaction, space: int, id: str, queue: str, read: bytes, body: bytes, due_ms: int, now_ms: int
) -> bool:
    """Move a call that waits as it was read; return whether it does."""
    number = transaction.queue(space, queue)
    state = SCHEDULED if due_ms > now_ms else READY
    if transaction.change(_MOVE, (id, space, number, read, body, state, max(due_ms, now_ms))) == 0:
        return False
    wake_hungry(transaction, [number], due_ms if due_ms > now_ms else 0)
    return True
