"""Freeing: what a transaction does to give slots to those who wait for them, when calls are not lent any more."""

from collections.abc import Sequence
from typing import Any, Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.schema import RUNNING
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waiters import call_each_first, call_first
from asyncq.sqlite.waking import wake_for_turns

_FREE: Final = "DELETE FROM holds WHERE holder IN (SELECT value FROM json_each(?1)) RETURNING space, limit_key"
_FREE_ALL: Final = f"""
DELETE FROM holds WHERE holds.holder IN (SELECT seq FROM calls WHERE state = {RUNNING} AND calls.holder = ?1)
RETURNING space, limit_key
"""
_FREE_FETCHES: Final = f"""
DELETE FROM holds WHERE holds.holder IN (
    SELECT seq FROM calls WHERE state = {RUNNING} AND calls.holder = ?1 AND fetch IN (SELECT value FROM json_each(?2))
)
RETURNING space, limit_key
"""
_WAKE: Final = """
UPDATE lines SET turn_ms = ?3 WHERE space = ?1 AND limit_key = ?2 AND turn_ms > ?3 RETURNING queue
"""
_WAKE_EACH: Final = """
UPDATE lines SET turn_ms = ?4 WHERE space = ?1 AND limit_key >= ?2 AND limit_key < ?3 AND turn_ms > ?4 RETURNING queue
"""


def free(transaction: Transaction, seqs: Sequence[int], now_ms: int) -> None:
    """Free the slots of calls, and have those asked for who wait for them."""
    if seqs:
        _wake_all(transaction, transaction.rows(_FREE, (as_json(seqs),)), now_ms)


def free_of(transaction: Transaction, consumer: int, now_ms: int) -> None:
    """Free the slots of all that a consumer was lent, before that is handed back."""
    _wake_all(transaction, transaction.rows(_FREE_ALL, (consumer,)), now_ms)


def free_of_fetches(transaction: Transaction, consumer: int, fetches: Sequence[int], now_ms: int) -> None:
    """Free the slots of what fetches have lent, before that is handed back."""
    _wake_all(transaction, transaction.rows(_FREE_FETCHES, (consumer, as_json(fetches))), now_ms)


def wake(transaction: Transaction, space: int, limit_key: str, now_ms: int) -> None:
    """Have everybody asked for who waits for a count: a slot is free."""
    _wake_queues(transaction, transaction.rows(_WAKE, (space, limit_key, now_ms)))
    call_first(transaction, space, limit_key)


def wake_limit(transaction: Transaction, space: int, limit_id: str, now_ms: int) -> None:
    """Have everybody asked for who waits for any count of a limit: something has changed."""
    keys = (f"{limit_id} ", f"{limit_id}!")  # "!" follows the space
    _wake_queues(transaction, transaction.rows(_WAKE_EACH, (space, *keys, now_ms)))
    call_each_first(transaction, space, *keys)


def _wake_all(transaction: Transaction, freed: Sequence[Any], now_ms: int) -> None:
    for space, limit_key in dict.fromkeys(freed):
        wake(transaction, space, limit_key, now_ms)


def _wake_queues(transaction: Transaction, rows: Sequence[Any]) -> None:
    wake_for_turns(transaction, {queue for (queue,) in rows})
