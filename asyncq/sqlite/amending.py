"""Amending: what a transaction does to give a ledger's call that waits another body, or another time."""

from typing import Final

from asyncq.ledger import WITHDRAWN_MS, Copy
from asyncq.sqlite.lines import leave_line
from asyncq.sqlite.lives import copy_in, remember
from asyncq.sqlite.replacing import replace
from asyncq.sqlite.rescheduling import reschedule
from asyncq.sqlite.schema import LINED, READY, RUNNING, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waking import wake_for_turns
from asyncq.transport import Envelope, KeyOwner

# What it has become is still to be published: an orphan.
_SEND_ON: Final = f"""
UPDATE calls SET generation = generation + 1, priority = ?3, is_changed = 1, orphaned_ms = ifnull(orphaned_ms, ?4)
WHERE id = ?1 AND space = ?2 AND state < {RUNNING}
RETURNING id, (SELECT name FROM queues WHERE queues.id = queue), body, priority, generation,
    iif(state = {SCHEDULED}, due_ms, 0), terms, lane
"""
_WAITING: Final = f"""
SELECT seq, iif(state = {SCHEDULED}, due_ms, 0), CASE state WHEN {LINED} THEN line END FROM calls
WHERE id = ?1 AND space = ?2 AND state IN ({READY}, {SCHEDULED}, {LINED})
"""


def replaced(transaction: Transaction, space: int, owner: KeyOwner, envelope: Envelope, now_ms: int) -> Copy | None:
    """Let the call that has a key be what another one would have been; None: it does not wait, or is not to be."""
    if envelope.unique is None or not envelope.unique.replaces:
        return None
    waiting = transaction.rows(_WAITING, (owner.id, space))
    if not waiting:
        return None
    ((seq, due_ms, line),) = waiting
    if line is not None:  # what it has become asks again, and finds its place
        wake_for_turns(transaction, leave_line(transaction, seq, line, now_ms))
    replace(transaction, space, [(owner, envelope)], now_ms)
    return _sent_on(transaction, space, owner.id, envelope.priority, due_ms, now_ms)


def rescheduled(
    transaction: Transaction,
    space: int,
    id: str,
    queue: str,
    read: bytes,
    body: bytes,
    due_ms: int,
    priority: int,
    expires_ms: int,
    now_ms: int,
) -> Copy | None:
    """Move a call that waits as it was read; None: it does not."""
    waiting = transaction.rows(_WAITING, (id, space))
    if not waiting or not reschedule(transaction, space, id, queue, read, body, due_ms, expires_ms, now_ms):
        return None
    return _sent_on(transaction, space, id, priority, waiting[0][1], now_ms)


def _sent_on(transaction: Transaction, space: int, id: str, priority: int, was_due_ms: int, now_ms: int) -> Copy | None:
    remember(transaction, space, id, max(was_due_ms, now_ms) + WITHDRAWN_MS)
    rows = transaction.rows(_SEND_ON, (id, space, priority, now_ms))
    return copy_in(*rows[0]) if rows else None
