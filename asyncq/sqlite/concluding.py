"""Concluding: what a transaction does to end lendings, and calls, of a ledger."""

from collections.abc import Sequence
from typing import Final

from asyncq.ledger import remembered_ms, without_transport
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.lives import End, Lending, entomb
from asyncq.sqlite.schema import ENDED, RUNNING, SCHEDULED
from asyncq.sqlite.settling import numbers_in, settle
from asyncq.sqlite.severing import withdraw
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Again, Dead, Done, Outcome, Settlement

_SEND_ON: Final = "UPDATE calls SET generation = generation + 1 WHERE seq IN (SELECT value FROM json_each(?1))"
_WITHDRAWN: Final = f"""
SELECT seq, CASE state WHEN {SCHEDULED} THEN due_ms - ?5 ELSE 0 END FROM calls
WHERE id = ?1 AND space = ?2 AND queue = ?3 AND state <> {ENDED} AND (?4 OR state <> {RUNNING})
"""


def conclude(
    transaction: Transaction, space: int, holder: int, settlements: Sequence[Settlement], now_ms: int
) -> list[bool]:
    """End those lendings that are still the holder's, and return for each whether it was."""
    first: dict[str, Settlement] = {}
    for settlement in settlements:
        first.setdefault(settlement.delivery.token, settlement)
    ends: list[End] = []
    for token, settlement in first.items():
        if isinstance(settlement, Done | Dead):
            seq, fetch = numbers_in(token)
            outcome = settlement.outcome
            ends.append(End(seq, outcome, remembered_ms(outcome), Lending(holder, fetch)))
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
    found = transaction.rows(_WITHDRAWN, (id, space, transaction.queue(space, queue), even_running, now_ms))
    ends = [End(seq, outcome, remembered_ms(outcome, withdrawn_ms=wait_ms)) for seq, wait_ms in found]
    entomb(transaction, space, ends, now_ms)
    return withdraw(transaction, space, id, queue, outcome, now_ms, even_running=even_running)
