"""Replacing: what a transaction does to let a call that waits be what a later one of its unique key would have been."""

from collections.abc import Iterable
from typing import Final

from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.schema import READY, SCHEDULED
from asyncq.transport import Envelope, KeyOwner

_WAITING: Final = f"""
SELECT seq, state, due_ms, queue FROM calls WHERE id = ?1 AND space = ?2 AND state IN ({READY}, {SCHEDULED})
"""
_REPLACE: Final = "UPDATE calls SET body = ?2, state = ?3, due_ms = ?4 WHERE seq = ?1"


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
        for seq, state, due_ms, queue in transaction.rows(_WAITING, (owner.id, space)):
            place = state, due_ms
            moved_ms = term.put_off(envelope.due_ms, owner.taken_ms)
            if term.moves and (moved_ms > now_ms or state == SCHEDULED):
                place = SCHEDULED if moved_ms > now_ms else READY, max(moved_ms, now_ms)
                wake_ms = moved_ms if moved_ms > now_ms else 0
                wakes[queue] = min(wakes.get(queue, wake_ms), wake_ms)
            transaction.change(_REPLACE, (seq, term.renamed(envelope.body, owner.id), *place))
    return wakes
