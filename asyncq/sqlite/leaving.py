"""Leaving: what a transaction does to end memberships, and to hand back what was held."""

from typing import Final

from asyncq.sqlite.freeing import free_of
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.schema import HANDED_BACK, RUNNING
from asyncq.sqlite.telling import tell_all
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.waking import wake_for_returned, wake_for_turns
from asyncq.transport import SUSPECT_CRASHES, Departure

_EXPIRED: Final = "SELECT id, name FROM consumers WHERE space = ?1 AND id <> ?2 AND lease_end_ms <= ?3"

# GLOB's own signs can't take effect in a name: substr compares the beginning, the rest has to be digits.
_NAMED: Final = """
SELECT consumers.id, consumers.name FROM json_each(?2) AS dead JOIN consumers ON space = ?1 AND (
    name = dead.value
    OR substr(name, 1, length(dead.value) + 1) = dead.value || '.'
    AND length(name) > length(dead.value) + 1
    AND substr(name, length(dead.value) + 2) NOT GLOB '*[^0-9]*'
)
"""

MAX_BLAMED: Final = 2_000
"""Characters that are kept of who was taken for dead with a call: the last ones."""

_HELD_QUEUES: Final = f"""
SELECT DISTINCT queue, crashes + ?2 >= {SUSPECT_CRASHES} FROM calls WHERE state = {RUNNING} AND holder = ?1
"""
_CRASHED: Final = ", crashes = crashes + 1, orphaned_ms = ?2"
_BLAMED: Final = f", blamed = substr(ifnull(blamed, ' ') || ?1 || ' ', -{MAX_BLAMED})"
_HAND_BACK: Final = {
    how: f"UPDATE calls SET {HANDED_BACK}{crash} WHERE state = {RUNNING} AND holder = ?1"
    for how, crash in ((Departure.LEFT, ""), (Departure.DIED, _CRASHED), (Departure.SILENT, _CRASHED + _BLAMED))
}
_END: Final = "DELETE FROM consumers WHERE id = ?1 RETURNING address"
# The one that goes may have been the only one that knew when a line is to be asked for.
_LINED: Final = "SELECT DISTINCT queue FROM lines WHERE queue IN (SELECT queue FROM members WHERE consumer = ?1)"
_END_MEMBERSHIPS: Final = "DELETE FROM members WHERE consumer = ?1"
_FORGET_SEVERED: Final = "DELETE FROM severed WHERE consumer = ?1"


def dismiss(
    transaction: Transaction, consumer: int, now_ms: int, *, how: Departure, orphaned_ms: int | None = None
) -> int:
    """End a consumer's membership; what it holds goes back to its place. Returns how many messages.

    Args:
        transaction: the transaction.
        consumer: the consumer's number.
        now_ms: the time.
        how: it goes.
        orphaned_ms: since when what it held are orphans, where the consumer is a ledger's and dead.
    """
    ended = transaction.rows(_END, (consumer,))
    if not ended:
        return 0
    lined = [queue for (queue,) in transaction.rows(_LINED, (consumer,))]
    transaction.change(_END_MEMBERSHIPS, (consumer,))
    transaction.change(_FORGET_SEVERED, (consumer,))
    held = transaction.rows(_HELD_QUEUES, (consumer, int(how is not Departure.LEFT)))
    if held:
        free_of(transaction, consumer, now_ms)
    parameters = (consumer,) if how is Departure.LEFT else (consumer, orphaned_ms)
    count = transaction.change(_HAND_BACK[how], parameters) if held else 0
    wake_for_returned(transaction, held)
    wake_for_turns(transaction, lined)
    transaction.ring(ended[0][0], Ring(0))  # its own waiting fetch has to learn of it
    return count


def reclaim(
    transaction: Transaction, space: int, reclaimer: int, now_ms: int, *, orphaned_ms: int | None = None
) -> dict[str, int]:
    """Take over what consumers hold whose lease has run out; return how many messages, by name."""
    expired = transaction.rows(_EXPIRED, (space, reclaimer, now_ms))
    return _bury_consumers(transaction, space, expired, now_ms, Departure.SILENT, orphaned_ms)


def release(
    transaction: Transaction, space: int, names: str, now_ms: int, *, orphaned_ms: int | None = None
) -> dict[str, int]:
    """Take over what consumers of these names (a JSON array) hold, and those that went on as `name.1`, `name.2`."""
    named = transaction.rows(_NAMED, (space, names))
    return _bury_consumers(transaction, space, named, now_ms, Departure.DIED, orphaned_ms)


def _bury_consumers(
    transaction: Transaction,
    space: int,
    dead: list[tuple[int, str]],
    now_ms: int,
    how: Departure,
    orphaned_ms: int | None,
) -> dict[str, int]:
    counts = {name: dismiss(transaction, consumer, now_ms, how=how, orphaned_ms=orphaned_ms) for consumer, name in dead}
    if counts:
        tell_all(transaction, space)
    return counts
