"""Waking: whom a transaction has rung because there is something to fetch, or may be soon."""

from collections.abc import Iterable
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import HUNGER, HUNGER_FOR_ALL, SATED
from asyncq.sqlite.transaction import Transaction

_WAIT_FOR_TURNS: Final = f"""
SELECT DISTINCT address FROM members JOIN consumers ON consumers.id = members.consumer
WHERE members.queue IN (SELECT value FROM json_each(?1)) AND hunger <> {SATED}
"""
_HUNGRY: Final = """
SELECT DISTINCT address FROM members JOIN consumers ON consumers.id = members.consumer
WHERE members.queue IN (SELECT value FROM json_each(?1)) AND hunger >= ?2 AND consumer <> ?3
"""


def wake_hungry(
    transaction: Transaction, queues: Iterable[int], due_ms: int, hunger: int = HUNGER, *, besides: int = 0
) -> None:
    """Ring the consumers of these queues that have nothing better to do.

    Args:
        transaction: the transaction.
        queues: numbers of queues.
        due_ms: when there will be something; 0: now.
        hunger: the least that they must have; HUNGER_FOR_ALL: what there is are suspects.
        besides: a consumer that is not rung.
    """
    for (address,) in transaction.rows(_HUNGRY, (as_json(list(queues)), hunger, besides)):
        transaction.ring(address, Ring(0, due_ms=due_ms))


def wake_for_turns(transaction: Transaction, queues: Iterable[int]) -> None:
    """Ring those who may take what waits in the lines of these queues: somebody's turn may have come."""
    if numbers := list(queues):
        for (address,) in transaction.rows(_WAIT_FOR_TURNS, (as_json(numbers),)):
            transaction.ring(address, Ring(0, due_ms=0))


def wake_for_returned(transaction: Transaction, returned: Iterable[tuple[int, bool]]) -> None:
    """Ring those who want what was handed back: pairs of a queue's number and whether it is a suspect."""
    queues: dict[bool, set[int]] = {False: set(), True: set()}
    for queue, is_suspect in returned:
        queues[bool(is_suspect)].add(queue)
    if queues[False]:
        wake_hungry(transaction, queues[False], 0)
    if for_all := queues[True] - queues[False]:
        wake_hungry(transaction, for_all, 0, HUNGER_FOR_ALL)
