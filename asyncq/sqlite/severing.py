"""Severing: what a transaction does to a delivery whose call is ended under its consumer, and how that one is told.

The delivery lies in the file until its consumer has been told. A ring says that one does; who missed the ring
finds it when it next renews its lease.
"""

from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.freeing import free
from asyncq.sqlite.lines import leave_line
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import ENDED, LINED, RUNNING
from asyncq.sqlite.settling import Ending, end_calls, numbers_in, token_of
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waking import wake_for_turns
from asyncq.transport import Outcome

_NOT_ENDED: Final = f"""
SELECT seq, state = {RUNNING}, CASE state WHEN {LINED} THEN line END FROM calls
WHERE id = ?1 AND space = ?2 AND queue = ?3 AND state <> {ENDED}
"""

_SEVER: Final = f"""
INSERT INTO severed(consumer, seq, fetch) SELECT holder, seq, fetch FROM calls WHERE seq = ?1 AND state = {RUNNING}
"""
_ADDRESS: Final = "SELECT address FROM calls JOIN consumers ON consumers.id = calls.holder WHERE calls.seq = ?1"

_SEVERED: Final = "SELECT seq, fetch FROM severed WHERE consumer = ?1"
_FORGET: Final = """
DELETE FROM severed WHERE consumer = ?1
AND (seq, fetch) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2))
"""


def withdraw(
    transaction: Transaction, space: int, id: str, queue: str, outcome: Outcome, now_ms: int, *, even_running: bool
) -> bool:
    """End a call from outside, where it waits or where that is meant; return whether it was."""
    for seq, is_running, line in transaction.rows(_NOT_ENDED, (id, space, transaction.queue(space, queue))):
        if is_running:
            if not even_running:
                return False
            _sever(transaction, seq)
            free(transaction, [seq], now_ms)
        if line is not None:
            wake_for_turns(transaction, leave_line(transaction, seq, line, now_ms))
        end_calls(transaction, space, [Ending(seq, id, outcome)], now_ms)
        return True
    return False


def severed_from(file: Connection, consumer: int) -> list[str]:
    """Return the tokens of the deliveries of a consumer that it has to be told of."""
    return [token_of(seq, fetch) for seq, fetch in file.rows(_SEVERED, (consumer,))]


def forget_severed(transaction: Transaction, consumer: int, told: list[str]) -> None:
    """Remove deliveries of which the consumer was told."""
    transaction.change(_FORGET, (consumer, as_json([numbers_in(token) for token in told])))


def _sever(transaction: Transaction, seq: int) -> None:
    """Note that a call which runs is about to be ended, and ring the consumer that holds it."""
    transaction.change(_SEVER, (seq,))
    for (address,) in transaction.rows(_ADDRESS, (seq,)):
        transaction.ring(address, Ring(0))
