"""Concluding: what a transaction does to end lendings, and calls, of a ledger."""

from collections.abc import Sequence
from typing import Final

from asyncq.ledger import without_transport
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.lives import entomb, is_forgotten_early
from asyncq.sqlite.schema import ENDED, RUNNING
from asyncq.sqlite.settling import numbers_in, settle
from asyncq.sqlite.severing import withdraw
from asyncq.transport import Again, Dead, Done, Outcome, Settlement

_SEND_ON: Final = "UPDATE calls SET generation = generation + 1 WHERE seq IN (SELECT value FROM json_each(?1))"
_WITHDRAWN: Final = f"""
SELECT seq FROM calls
WHERE id = ?1 AND space = ?2 AND queue = ?3 AND state <> {ENDED} AND (?4 OR state <> {RUNNING})
"""


def conclude(
    transaction: Transaction, space: int, holder: int, settlements: Sequence[Settlement], now_ms: int
) -> list[bool]:
    """End those lendings that are still the holder's, and return for each whether it was."""
    first: dict[str, Settlement] = {}
    for settlement in settlements:
        first.setdefault(settlement.delivery.token, settlement)
    ends: list[tuple[int, int | None, int | None]] = []
    for token, settlement in first.items():
        if isinstance(settlement, Done | Dead) and is_forgotten_early(settlement.outcome):
            seq, fetch = numbers_in(token)
            ends.append((seq, holder, fetch))
    entomb(transaction, space, ends, now_ms)
    effects = settle(transaction, space, holder, list(map(without_transport, settlements)), 0, now_ms)
    if sent_on := [
        numbers_in(settlement.delivery.token)[0]
        for settlement, has_effect in zip(settlements, effects, strict=True)
        if has_effect and isinstance(settlement, Again)
    ]:
        transaction.change(_SEND_ON, (as_json(sent_on),))
    return effects


def end(
    transaction: Transaction, space: int, id: str, queue: str, outcome: Outcome, now_ms: int, *, even_running: bool
) -> bool:
    """End a call from outside, where it waits or where that is meant; return whether it was."""
    if is_forgotten_early(outcome):
        parameters = (id, space, transaction.queue(space, queue), even_running)
        entomb(transaction, space, [(seq, None, None) for (seq,) in transaction.rows(_WITHDRAWN, parameters)], now_ms)
    return withdraw(transaction, space, id, queue, outcome, now_ms, even_running=even_running)
