"""Amending: what a transaction does to give a ledger's call that waits another body, or another time."""

from typing import Final

from asyncq.ledger import WITHDRAWN_MS, Copy
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.replacing import replace
from asyncq.sqlite.rescheduling import reschedule
from asyncq.sqlite.schema import RUNNING, SCHEDULED
from asyncq.transport import Envelope, KeyOwner

# What it has become is still to be published: an orphan.
_SEND_ON: Final = f"""
UPDATE calls SET generation = generation + 1, priority = ?3, orphaned_ms = ifnull(orphaned_ms, ?4)
WHERE id = ?1 AND space = ?2 AND state < {RUNNING}
RETURNING id, (SELECT name FROM queues WHERE queues.id = queue), body, priority, generation,
    iif(state = {SCHEDULED}, due_ms, 0)
"""


# The copy of what it was may come late, whenever the call has ended by then.
_REMEMBER: Final = """
INSERT INTO tombstones(space, id, generation, expires_ms)
SELECT space, id, generation, ?3 FROM calls WHERE id = ?1 AND space = ?2
ON CONFLICT(space, id) DO UPDATE SET generation = excluded.generation, expires_ms = max(expires_ms, excluded.expires_ms)
"""
_DUE: Final = f"""
SELECT iif(state = {SCHEDULED}, due_ms, 0) FROM calls WHERE id = ?1 AND space = ?2 AND state < {RUNNING}
"""


def replaced(transaction: Transaction, space: int, owner: KeyOwner, envelope: Envelope, now_ms: int) -> Copy | None:
    """Let the call that has a key be what another one would have been; None: it does not wait, or is not to be."""
    if envelope.unique is None or not envelope.unique.replaces:
        return None
    due = transaction.rows(_DUE, (owner.id, space))
    if not due:
        return None
    replace(transaction, space, [(owner, envelope)], now_ms)
    return _sent_on(transaction, space, owner.id, envelope.priority, due[0][0], now_ms)


def rescheduled(
    transaction: Transaction,
    space: int,
    id: str,
    queue: str,
    read: bytes,
    body: bytes,
    due_ms: int,
    priority: int,
    now_ms: int,
) -> Copy | None:
    """Move a call that waits as it was read; None: it does not."""
    due = transaction.rows(_DUE, (id, space))
    if not due or not reschedule(transaction, space, id, queue, read, body, due_ms, 0, now_ms):
        return None
    return _sent_on(transaction, space, id, priority, due[0][0], now_ms)


def _sent_on(transaction: Transaction, space: int, id: str, priority: int, was_due_ms: int, now_ms: int) -> Copy | None:
    transaction.change(_REMEMBER, (id, space, max(was_due_ms, now_ms) + WITHDRAWN_MS))
    rows = transaction.rows(_SEND_ON, (id, space, priority, now_ms))
    return Copy(*rows[0]) if rows else None
