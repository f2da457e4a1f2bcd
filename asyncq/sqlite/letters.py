"""The dead letters, as they are read, dropped and put back."""

from collections.abc import Sequence
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.publishing import publish
from asyncq.sqlite.schema import ENDED
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import DeadLetter, Envelope, Revival, Revived

_QUEUE: Final = """
(SELECT queues.id FROM queues JOIN spaces ON spaces.id = queues.space WHERE spaces.name = ?1 AND queues.name = ?2)
"""
_COLUMNS: Final = "letters.id, ?2, body, reason, record, died_ms, seq"
_NEWEST: Final = f"""
SELECT {_COLUMNS} FROM letters
WHERE queue = {_QUEUE} AND seq < ?5 AND expires_ms > ?3 ORDER BY seq DESC LIMIT ?4
"""
_FIND: Final = f"""
SELECT {_COLUMNS} FROM letters
WHERE queue = {_QUEUE} AND letters.id IN (SELECT value FROM json_each(?4)) AND expires_ms > ?3
"""
_KEPT: Final = "SELECT seq FROM letters WHERE seq IN (SELECT value FROM json_each(?1)) AND expires_ms > ?2"
_DROP: Final = "DELETE FROM letters WHERE seq IN (SELECT value FROM json_each(?1))"

# The results that deaths have left, and not those of later calls under the same ids.
_FREE_IDS: Final = f"""
DELETE FROM calls WHERE seq IN (
    SELECT calls.seq FROM letters CROSS JOIN calls ON calls.id = letters.id AND calls.space = ?2
    WHERE letters.seq IN (SELECT value FROM json_each(?1)) AND state = {ENDED} AND calls.body = letters.record
)
"""

_NEWER_THAN_ALL: Final = 2**63 - 1


def newest(
    file: Connection, namespace: str, queue: str, *, limit: int, before: int | None, now_ms: int
) -> list[DeadLetter]:
    """Return the newest letters of a queue that died before a place, newest first."""
    parameters = (namespace, queue, now_ms, limit, _NEWER_THAN_ALL if before is None else before)
    return [DeadLetter(*row) for row in file.rows(_NEWEST, parameters)]


def find(file: Connection, namespace: str, queue: str, ids: Sequence[str], now_ms: int) -> list[DeadLetter | None]:
    """Return the letter of each id."""
    rows = file.rows(_FIND, (namespace, queue, now_ms, as_json(ids)))
    letters = {letter.id: letter for letter in (DeadLetter(*row) for row in rows)}
    return [letters.get(id) for id in ids]


def drop(transaction: Transaction, letters: Sequence[DeadLetter], now_ms: int) -> list[bool]:
    """Forget letters; return for each whether it was there."""
    kept = _kept(transaction, letters, now_ms)
    transaction.change(_DROP, (as_json(list(kept)),))
    return [letter.place in kept for letter in letters]


def revive(transaction: Transaction, space: int, revivals: Sequence[Revival], now_ms: int) -> list[Revived]:
    """Let letters run again, each in place of the result that it has left."""
    kept = _kept(transaction, [revival.letter for revival in revivals], now_ms)
    transaction.change(_FREE_IDS, (as_json(list(kept)), space))
    lives = [revival for revival in revivals if revival.letter.place in kept]
    envelopes = [
        Envelope(letter.id, letter.queue, body, priority, unique=unique, terms=terms)
        for letter, body, priority, unique, terms in lives
    ]
    receipts = publish(transaction, space, envelopes, {}, now_ms, are_letters=True) if envelopes else []
    published = {life.letter.place for life, receipt in zip(lives, receipts, strict=True) if receipt is None}
    transaction.change(_DROP, (as_json(list(published)),))
    return [_answer(revival.letter.place, kept, published) for revival in revivals]


def _kept(transaction: Transaction, letters: Sequence[DeadLetter], now_ms: int) -> set[int]:
    places = as_json([letter.place for letter in letters])
    return {seq for (seq,) in transaction.rows(_KEPT, (places, now_ms))}


def _answer(place: int, kept: set[int], published: set[int]) -> Revived:
    if place not in kept:
        return Revived.GONE
    return Revived.DONE if place in published else Revived.TAKEN
