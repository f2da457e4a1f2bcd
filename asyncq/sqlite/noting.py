"""Noting: what a transaction does to remember what a ledger's transport has, or is about to have."""

from collections.abc import Sequence
from typing import Final

from asyncq.ledger import Claimed, ClaimReceipt, Replaced, next_life
from asyncq.sqlite.amending import replaced
from asyncq.sqlite.bundle import as_json, bundled
from asyncq.sqlite.lanes import filed
from asyncq.sqlite.lives import last_generations
from asyncq.sqlite.schema import ENDED, READY, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import claim_keys, confirm_keys, hold_keys, owners_of, strike_keys, take_keys
from asyncq.transport import Envelope, KeyOwner, Owned, Taken

# ?1 space, ?2 the blob of bodies, ?3 rows of [id, queue, state, priority, due_ms, terms, lane, start, length], ?4 the
# time.
# What is known stays, and so does an end that is remembered, unless its id was claimed since.
_NOTE: Final = """
INSERT INTO calls(space, id, queue, state, priority, due_ms, terms, lane, generation, body)
SELECT ?1, own, queue, state, priority, due_ms, terms, lane, ifnull(claims.generation, 0), own_body
FROM (
    SELECT key, json_extract(value, '$[0]') AS own, json_extract(value, '$[1]') AS queue,
        json_extract(value, '$[2]') AS state, json_extract(value, '$[3]') AS priority,
        json_extract(value, '$[4]') AS due_ms, json_extract(value, '$[5]') AS terms,
        json_extract(value, '$[6]') AS lane,
        ifnull(substr(?2, json_extract(value, '$[7]'), json_extract(value, '$[8]')), x'') AS own_body
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
RETURNING id
"""

_BEGUN: Final = f"""
SELECT id FROM calls WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND state <> {ENDED}
UNION ALL
SELECT id FROM claims WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires_ms > ?3
"""


def note(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> None:
    """Remember messages that are on their way, unless they are known or have ended."""
    queues = {queue: transaction.queue(space, queue) for queue in {envelope.queue for envelope in envelopes}}
    rows, bodies = bundled(
        (id, queues[queue], SCHEDULED if due_ms > now_ms else READY, priority, max(due_ms, now_ms), *filed(terms), body)
        for id, queue, body, priority, due_ms, _, _, terms in envelopes
    )
    firsts: dict[str, Envelope] = {}
    for envelope in envelopes:
        firsts.setdefault(envelope.id, envelope)
    keyed = [envelope for envelope in firsts.values() if envelope.unique is not None]
    known = _begun(transaction, space, keyed, now_ms) if keyed else set[str]()
    transaction.change(_NOTE, (space, bodies, rows, now_ms))
    if claimed := [envelope.id for envelope in envelopes if not envelope.is_fresh or envelope.unique is not None]:
        confirm_keys(transaction, space, claimed, now_ms)
        transaction.change(_FORGET_NOTED, (space, as_json(claimed)))
    if lapsed := [envelope for envelope in keyed if envelope.id not in known]:
        _take_keys(transaction, space, lapsed, now_ms)


def claim(
    transaction: Transaction, space: int, envelopes: Sequence[Envelope], ttl_ms: int, now_ms: int
) -> list[ClaimReceipt]:
    """Claim ids and keys, in order; return for each the generation to publish it in, or who has them."""
    ids = [envelope.id for envelope in envelopes]
    last = last_generations(transaction, space, ids, now_ms)
    transaction.change(_FORGET_EXPIRED, (space, as_json(ids), now_ms))
    taken = {
        id: Taken(None, body) if has_ended else Taken(body, None)
        for id, has_ended, body in transaction.rows(_KNOWN, (space, as_json(ids)))
    }
    keys = {envelope.unique.key for envelope in envelopes if envelope.unique is not None}
    owners = owners_of(transaction, space, keys, now_ms) if keys else {}
    claims = claims_of(transaction, space, [*ids, *(owner.id for owner in owners.values())], now_ms)
    open_ids = list(claims)
    answers: list[ClaimReceipt] = []
    held: dict[str, Claimed] = {}
    keyed: list[Envelope] = []
    for envelope in envelopes:
        id, _, body, *_ = envelope
        owner = None if envelope.unique is None or id in claims else owners.get(envelope.unique.key)
        if id in taken:
            answers.append(taken[id])
        elif owner is None:
            if envelope.unique is not None and id not in claims:
                keyed.append(envelope)
                owners[envelope.unique.key] = KeyOwner(envelope.unique.key, id, envelope.queue, now_ms, 0)
            found = held[id] = claims.setdefault(id, Claimed(next_life(last.get(id)), body))
            answers.append(found.generation if found.body == body else found)
        else:
            owned = Owned(owner.id, owner.queue)
            if owner.id in claims:
                held[owner.id] = claims[owner.id]
                answers.append(claims[owner.id]._replace(owner=owned))
            else:
                copy = replaced(transaction, space, owner, envelope, now_ms)
                answers.append(owned if copy is None else Replaced(owned, copy))
                if copy is not None and owner.id in taken:
                    taken[owner.id] = Taken(copy.body, None)
    if held:
        rows, bodies = bundled((id, generation, body) for id, (generation, body, _) in held.items())
        transaction.change(_CLAIM, (space, bodies, rows, now_ms + ttl_ms))
        if open_ids:
            hold_keys(transaction, space, [id for id in open_ids if id in held], now_ms, now_ms + ttl_ms)
        claim_keys(transaction, space, keyed, now_ms, now_ms + ttl_ms)
    return answers


def claims_of(transaction: Transaction, space: int, ids: Sequence[str], now_ms: int) -> dict[str, Claimed]:
    """Return the claims of these ids that are open."""
    rows = transaction.rows(_CLAIMED, (space, as_json(ids), now_ms))
    return {id: Claimed(generation, body) for id, generation, body in rows}


def strike(transaction: Transaction, space: int, envelopes: Sequence[Envelope]) -> None:
    """Take claims back."""
    rows, bodies = bundled((envelope.id, envelope.body) for envelope in envelopes)
    struck = [id for (id,) in transaction.rows(_STRIKE, (space, bodies, rows))]
    if struck:
        strike_keys(transaction, space, struck)


def _begun(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> set[str]:
    """Return the ids that are calls, or claimed."""
    ids = as_json([envelope.id for envelope in envelopes])
    return {id for (id,) in transaction.rows(_BEGUN, (space, ids, now_ms))}


def _take_keys(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> None:
    """Give calls whose claims have lapsed the keys that nobody has taken since."""
    begun = _begun(transaction, space, envelopes, now_ms)
    calls = [envelope for envelope in reversed(envelopes) if envelope.id in begun]
    keys = {envelope.unique.key: envelope for envelope in calls if envelope.unique is not None}
    owners = owners_of(transaction, space, keys, now_ms)
    take_keys(transaction, space, [envelope for key, envelope in keys.items() if key not in owners], now_ms)
