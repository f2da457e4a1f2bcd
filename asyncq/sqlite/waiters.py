"""The waiters: what a transaction does to let code outside of tasks stand in line for a limit."""

from typing import Final

from asyncq.sqlite.rings import Ring
from asyncq.sqlite.transaction import Transaction
from asyncq.store import Address

_OWN: Final = "space = ?1 AND limit_key = ?2"
_FORGET_GONE: Final = f"DELETE FROM waiters WHERE {_OWN} AND waiter <> ?3 AND until_ms <= ?4"
_WAIT: Final = """
INSERT INTO waiters(space, limit_key, waiter, address, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT(space, limit_key, waiter) DO UPDATE SET address = excluded.address, until_ms = excluded.until_ms
"""
_FIRST: Final = f"SELECT waiter, address FROM waiters WHERE {_OWN} ORDER BY place LIMIT 1"
_LEAVE: Final = f"DELETE FROM waiters WHERE {_OWN} AND waiter = ?3"
_FIRST_OF_EACH: Final = """
SELECT address FROM waiters WHERE place IN (
    SELECT min(place) FROM waiters WHERE space = ?1 AND limit_key >= ?2 AND limit_key < ?3 GROUP BY limit_key
)
"""


def is_first(
    transaction: Transaction, space: int, limit_key: str, waiter: str, address: Address, until_ms: int, now_ms: int
) -> bool:
    """Keep a place, or take the last; return whether it is the first. Who has not kept its own loses it."""
    transaction.change(_FORGET_GONE, (space, limit_key, waiter, now_ms))
    transaction.change(_WAIT, (space, limit_key, waiter, address, until_ms))
    return transaction.rows(_FIRST, (space, limit_key))[0][0] == waiter


def stop_waiting(transaction: Transaction, space: int, limit_key: str, waiter: str) -> bool:
    """Give a place up, and call who is first by that; return whether there was one."""
    if not transaction.change(_LEAVE, (space, limit_key, waiter)):
        return False
    call_first(transaction, space, limit_key)
    return True


def call_first(transaction: Transaction, space: int, limit_key: str) -> None:
    """Call who is first in line for a count."""
    for _, address in transaction.rows(_FIRST, (space, limit_key)):
        transaction.ring(address, Ring(0))


def call_each_first(transaction: Transaction, space: int, first_key: str, end_key: str) -> None:
    """Call who is first in line for each count from one key up to another, which is not included."""
    for (address,) in transaction.rows(_FIRST_OF_EACH, (space, first_key, end_key)):
        transaction.ring(address, Ring(0))
