"""Unique keys: what a transaction does to give them to calls, and to take them back."""

from collections.abc import Iterable, Sequence
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.schema import ENDED
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Envelope, KeyOwner

_COLUMNS: Final = "key, uniques.id, queues.name, taken_ms, ends_ms"
_OWNERS: Final = f"""
SELECT {_COLUMNS} FROM uniques CROSS JOIN queues ON queues.id = uniques.queue
WHERE uniques.space = ?1 AND key IN (SELECT value FROM json_each(?2)) AND (ends_ms = 0 OR ends_ms > ?3)
"""
_LISTED: Final = f"""
SELECT {_COLUMNS} FROM uniques CROSS JOIN queues ON queues.id = uniques.queue
WHERE uniques.space = (SELECT id FROM spaces WHERE name = ?1)
    AND key >= ?2 AND substr(key, 1, length(?2)) = ?2 AND (ends_ms = 0 OR ends_ms > ?3)
ORDER BY key LIMIT ?4
"""

# ?1 space, ?2 rows of [key, id, queue, ends_at_start, ends_ms], ?3 the time. One that is there is over,
# or the call's own.
_TAKE: Final = """
INSERT OR REPLACE INTO uniques(space, key, id, queue, ends_at_start, taken_ms, ends_ms)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), ?3, json_extract(value, '$[4]')
FROM json_each(?2)
"""
_GIVE_BACK: Final = """
DELETE FROM uniques WHERE (space, key) IN (
    SELECT space, key FROM uniques WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND ends_ms = 0
)
"""
_GIVE_BACK_AT_START: Final = """
DELETE FROM uniques WHERE (space, key) IN (
    SELECT space, key FROM uniques
    WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND ends_ms = 0 AND ends_at_start
)
"""

# ?1 space, ?2 rows of [key, id, queue, ends_at_start, ttl_ms], ?3 the time, ?4 the claims' end. The key is free, or
# has been claimed by that id before.
_CLAIM: Final = """
INSERT INTO uniques(space, key, id, queue, ends_at_start, taken_ms, ends_ms, claimed_ms)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), ?3, ?4, json_extract(value, '$[4]')
FROM json_each(?2) WHERE true
ON CONFLICT(space, key) DO UPDATE SET id = excluded.id, queue = excluded.queue, ends_at_start = excluded.ends_at_start,
    taken_ms = iif(id = excluded.id, taken_ms, excluded.taken_ms), ends_ms = excluded.ends_ms,
    claimed_ms = excluded.claimed_ms
"""
_HOLD: Final = """
UPDATE uniques SET ends_ms = ?4
WHERE (space, key) IN (
    SELECT space, key FROM uniques
    WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND claimed_ms IS NOT NULL AND ends_ms > ?3
)
"""
_CONFIRM: Final = f"""
UPDATE uniques SET ends_ms = iif(claimed_ms = 0, 0, taken_ms + claimed_ms), claimed_ms = NULL
WHERE (space, key) IN (
    SELECT space, key FROM uniques
    WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND claimed_ms IS NOT NULL AND ends_ms > ?3
        AND EXISTS(SELECT 1 FROM calls WHERE calls.id = uniques.id AND calls.space = ?1 AND state <> {ENDED})
)
"""
_STRIKE: Final = """
DELETE FROM uniques WHERE (space, key) IN (
    SELECT space, key FROM uniques
    WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND claimed_ms IS NOT NULL
)
"""
_CLEAR: Final = "DELETE FROM uniques WHERE space = ?1 AND key = ?2 AND (ends_ms = 0 OR ends_ms > ?3)"

ARE_TAKEN: Final = "EXISTS(SELECT 1 FROM uniques WHERE ends_ms = 0)"
ARE_CLAIMED: Final = "EXISTS(SELECT 1 FROM uniques WHERE claimed_ms IS NOT NULL)"
END_AT_START: Final = "EXISTS(SELECT 1 FROM uniques WHERE ends_ms = 0 AND ends_at_start)"
"""Columns that say whether there are any: asked along with what is asked anyway."""


def owners_of(transaction: Transaction, space: int, keys: Iterable[str], now_ms: int) -> dict[str, KeyOwner]:
    """Return who has these keys, of those that are taken."""
    rows = transaction.rows(_OWNERS, (space, as_json(list(keys)), now_ms))
    return {row[0]: KeyOwner(*row) for row in rows}


def take_keys(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> None:
    """Give messages their keys, which are free."""
    rows = [
        (term.key, envelope.id, transaction.queue(space, envelope.queue), int(term.ends_at_start), term.ends_ms(now_ms))
        for envelope in envelopes
        if (term := envelope.unique) is not None
    ]
    if rows:
        transaction.change(_TAKE, (space, as_json(rows), now_ms))


def claim_keys(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int, until_ms: int) -> None:
    """Give messages that may never be published their keys, which are free or their own, until then."""
    rows = [
        (term.key, envelope.id, transaction.queue(space, envelope.queue), int(term.ends_at_start), term.ttl_ms)
        for envelope in envelopes
        if (term := envelope.unique) is not None
    ]
    if rows:
        transaction.change(_CLAIM, (space, as_json(rows), now_ms, until_ms))


def hold_keys(transaction: Transaction, space: int, ids: Sequence[str], now_ms: int, until_ms: int) -> None:
    """Let the keys of open claims hold until then; not those that an id had claimed before."""
    transaction.change(_HOLD, (space, as_json(ids), now_ms, until_ms))


def confirm_keys(transaction: Transaction, space: int, ids: Sequence[str], now_ms: int) -> None:
    """Let calls keep the keys that were claimed with their ids."""
    transaction.change(_CONFIRM, (space, as_json(ids), now_ms))


def strike_keys(transaction: Transaction, space: int, ids: Sequence[str]) -> None:
    """Free the keys of claims that are taken back."""
    transaction.change(_STRIKE, (space, as_json(ids)))


def give_back(transaction: Transaction, space: int, ids: Sequence[str], *, at_start: bool = False) -> None:
    """Free the keys of calls that end, or of those among them that start; not what is kept for a time."""
    transaction.change(_GIVE_BACK_AT_START if at_start else _GIVE_BACK, (space, as_json(ids)))


def clear(transaction: Transaction, space: int, key: str, now_ms: int) -> bool:
    """Free a key; return whether it was taken."""
    return transaction.change(_CLEAR, (space, key, now_ms)) == 1


def listed(file: Connection, namespace: str, prefix: str, limit: int, now_ms: int) -> list[KeyOwner]:
    """Return the keys that are taken and begin like this, in alphabetical order."""
    return [KeyOwner(*row) for row in file.rows(_LISTED, (namespace, prefix, now_ms, limit))]
