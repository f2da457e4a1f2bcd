"""Noting: what a transaction does to remember what a ledger's transport has, or is about to have."""

from collections.abc import Sequence
from typing import Final

from asyncq.ledger import Claimed, next_life
from asyncq.sqlite.bundle import as_json, bundled
from asyncq.sqlite.engine import Transaction
from asyncq.sqlite.lives import last_generations
from asyncq.sqlite.schema import ENDED, READY, SCHEDULED
from asyncq.transport import Envelope, Taken

# ?1 space, ?2 the blob of bodies, ?3 rows of [id, queue, state, priority, due_ms, start, length], ?4 the time.
# What is known stays, and so does an end that is remembered, unless its id was claimed since.
_NOTE: Final = """
INSERT INTO calls(space, id, queue, state, priority, due_ms, generation, body)
SELECT ?1, own, queue, state, priority, due_ms, ifnull(claims.generation, 0), own_body
FROM (
    SELECT key, json_extract(value, '$[0]') AS own, json_extract(value, '$[1]') AS queue,
        json_extract(value, '$[2]') AS state, json_extract(value, '$[3]') AS priority,
        json_extract(value, '$[4]') AS due_ms,
        ifnull(substr(?2, json_extract(value, '$[5]'), json_extract(value, '$[6]')), x'') AS own_body
    FROM json_each(?3)
)
LEFT JOIN claims ON claims.space = ?1 AND claims.id = own AND claims.body = own_body
WHERE claims.id IS NOT NULL
    OR NOT EXISTS(SELECT 1 FROM tombstones WHERE tombstones.space = ?1 AND tombstones.id = own AND expires_ms > ?4)
ORDER BY key
ON CONFLICT DO NOTHING
"""
_FORGET_NOTED: Final = f"""
DELETE FROM claims WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))
AND EXISTS(SELECT 1 FROM calls WHERE calls.id = claims.id AND calls.space = ?1 AND state <> {ENDED})
"""

_KNOWN: Final = f"""
SELECT id, state = {ENDED}, body FROM calls
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))
"""
_CLAIMED: Final = """
SELECT id, generation, body FROM claims
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires_ms > ?3
"""
_FORGET_EXPIRED: Final = f"""
DELETE FROM calls
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND state = {ENDED} AND expires_ms <= ?3
"""

# ?1 space, ?2 the blob of bodies, ?3 rows of [id, generation, start, length], ?4 the claims' end
_CLAIM: Final = """
INSERT OR REPLACE INTO claims(space, id, generation, expires_ms, body)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?4,
    ifnull(substr(?2, json_extract(value, '$[2]'), json_extract(value, '$[3]')), x'')
FROM json_each(?3) ORDER BY key
"""
_STRIKE: Final = """
DELETE FROM claims WHERE space = ?1 AND (id, body) IN (
    SELECT json_extract(value, '$[0]'),
        ifnull(substr(?2, json_extract(value, '$[1]'), json_extract(value, '$[2]')), x'')
    FROM json_each(?3)
)
"""


def note(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> None:
    """Remember messages that are on their way, unless they are known or have ended."""
    queues = {queue: transaction.queue(space, queue) for queue in {envelope.queue for envelope in envelopes}}
    rows, bodies = bundled(
        (id, queues[queue], SCHEDULED if due_ms > now_ms else READY, priority, max(due_ms, now_ms), body)
        for id, queue, body, priority, due_ms, *_ in envelopes
    )
    transaction.change(_NOTE, (space, bodies, rows, now_ms))
    if chosen := [envelope.id for envelope in envelopes if not envelope.is_fresh]:
        transaction.change(_FORGET_NOTED, (space, as_json(chosen)))


def claim(
    transaction: Transaction, space: int, envelopes: Sequence[Envelope], ttl_ms: int, now_ms: int
) -> list[Taken | Claimed | int]:
    """Claim ids, in order; return for each the generation to publish it in, or who has it."""
    ids = [envelope.id for envelope in envelopes]
    last = last_generations(transaction, space, ids, now_ms)
    transaction.change(_FORGET_EXPIRED, (space, as_json(ids), now_ms))
    taken = {
        id: Taken(None, body) if has_ended else Taken(body, None)
        for id, has_ended, body in transaction.rows(_KNOWN, (space, as_json(ids)))
    }
    claims = claims_of(transaction, space, ids, now_ms)
    answers: list[Taken | Claimed | int] = []
    held: dict[str, Claimed] = {}
    for id, _, body, *_ in envelopes:
        if id in taken:
            answers.append(taken[id])
            continue
        found = held[id] = claims.setdefault(id, Claimed(next_life(last.get(id)), body))
        answers.append(found.generation if found.body == body else found)
    if held:
        rows, bodies = bundled((id, generation, body) for id, (generation, body) in held.items())
        transaction.change(_CLAIM, (space, bodies, rows, now_ms + ttl_ms))
    return answers


def claims_of(transaction: Transaction, space: int, ids: Sequence[str], now_ms: int) -> dict[str, Claimed]:
    """Return the claims of these ids that are open."""
    rows = transaction.rows(_CLAIMED, (space, as_json(ids), now_ms))
    return {id: Claimed(generation, body) for id, generation, body in rows}


def strike(transaction: Transaction, space: int, envelopes: Sequence[Envelope]) -> None:
    """Take claims back."""
    rows, bodies = bundled((envelope.id, envelope.body) for envelope in envelopes)
    transaction.change(_STRIKE, (space, bodies, rows))
