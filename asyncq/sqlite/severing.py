"""Severing: what a transaction does to a delivery whose call is ended under its consumer, and how that one is told.

The delivery lies in the file until its consumer has been told. A ring says that one does; who missed the ring
finds it when it next renews its lease.
"""

from typing import Final, NamedTuple

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import RUNNING

_SEVER: Final = f"""
INSERT INTO severed(consumer, seq, fetch, id)
SELECT holder, seq, fetch, id FROM calls WHERE seq = ?1 AND state = {RUNNING}
"""
_ADDRESS: Final = "SELECT address FROM calls JOIN consumers ON consumers.id = calls.holder WHERE calls.seq = ?1"

_SEVERED: Final = f"""
SELECT seq, fetch, id,
    EXISTS(SELECT 1 FROM calls WHERE state = {RUNNING} AND holder = severed.consumer AND calls.id = severed.id)
FROM severed WHERE consumer = ?1
"""
_FORGET: Final = """
DELETE FROM severed WHERE consumer = ?1
AND (seq, fetch) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2))
"""


class Severed(NamedTuple):
    """A delivery whose call was ended by somebody else.

    Attributes:
        seq, fetch: as in its token.
        id: the call's.
        is_back: the consumer holds another delivery of that id by now, of a call that was published since: to tell it
            the id would end the wrong one.
    """

    seq: int
    fetch: int
    id: str
    is_back: bool


def sever(transaction: Transaction, seq: int) -> None:
    """Note that a call which runs is about to be ended, and ring the consumer that holds it."""
    transaction.change(_SEVER, (seq,))
    for (address,) in transaction.rows(_ADDRESS, (seq,)):
        transaction.ring(address, Ring(0))


def severed_from(file: Connection, consumer: int) -> list[Severed]:
    """Return the deliveries of a consumer that it has to be told of."""
    return [Severed(*row) for row in file.rows(_SEVERED, (consumer,))]


def forget_severed(transaction: Transaction, consumer: int, told: list[Severed]) -> None:
    """Remove deliveries of which the consumer was told."""
    transaction.change(_FORGET, (consumer, as_json([(one.seq, one.fetch) for one in told])))
