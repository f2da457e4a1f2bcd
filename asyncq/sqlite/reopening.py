"""Reopening: what a transaction does to let dead calls of a ledger wait again, and to have orphans published again."""

from collections.abc import Sequence
from typing import Final

from asyncq.ledger import Copy, next_life
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.lives import begin, copy_in, last_generations
from asyncq.sqlite.noting import claims_of
from asyncq.sqlite.schema import ENDED, READY, RUNNING, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import owners_of, take_keys
from asyncq.transport import Envelope, KeyOwner, Revival

_FOUND: Final = f"""
SELECT id, state = {ENDED}, generation, is_reopened, expires_ms, body FROM calls
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))
"""

_ORPHANS: Final = f"""
SELECT calls.id, queues.name, body, priority, generation, iif(state = {SCHEDULED}, due_ms, 0), terms, lane
FROM calls CROSS JOIN queues ON queues.id = calls.queue
WHERE calls.space = (SELECT id FROM spaces WHERE name = ?1) AND state < {RUNNING} AND orphaned_ms IS NOT NULL
ORDER BY orphaned_ms, seq LIMIT ?2
"""
_PLACED: Final = """
UPDATE calls SET orphaned_ms = NULL WHERE seq IN (
    SELECT seq FROM json_each(?2) CROSS JOIN calls
    ON calls.id = json_extract(value, '$[0]') AND calls.space = ?1 AND generation = json_extract(value, '$[1]')
)
"""

_NOTHING: Final = (True, 0, False, 0, None)
"""What is found of a call of which nothing is left: it has ended, and so has the time of its result."""


def reopen(transaction: Transaction, space: int, revivals: Sequence[Revival], now_ms: int) -> list[int | None]:
    """Let dead calls wait again; return for each its generation, None where its id or its key is another call's."""
    ids = [revival.letter.id for revival in revivals]
    last = last_generations(transaction, space, ids, now_ms)
    claims = claims_of(transaction, space, ids, now_ms)
    rows = {row[0]: row[1:] for row in transaction.rows(_FOUND, (space, as_json(ids)))}
    keys = {revival.unique.key for revival in revivals if revival.unique is not None}
    owners = owners_of(transaction, space, keys, now_ms) if keys else {}
    keyed: list[Envelope] = []
    lives: dict[str, Copy] = {}
    generations: list[int | None] = []
    for letter, body, priority, term, _ in revivals:
        id = letter.id
        generation: int | None = next_life(last.get(id))
        has_ended, own_generation, is_reopened, expires_ms, record = rows.get(id, _NOTHING)
        if id in lives:
            generation = lives[id].generation
        elif not has_ended:
            generation = own_generation if is_reopened else None
        elif id in claims or (now_ms < expires_ms and record != letter.record):
            generation = None
        elif term is not None:
            owner = owners.setdefault(term.key, KeyOwner(term.key, id, letter.queue, now_ms, 0))
            generation = generation if owner.id == id else None
            if owner.id == id:
                keyed.append(Envelope(id, letter.queue, body, unique=term))
        generations.append(generation)
        if generation is not None:
            lives[id] = Copy(id, letter.queue, body, priority, generation)
    if lives:
        begin(transaction, space, list(lives.values()), READY, now_ms, None)
        take_keys(transaction, space, keyed, now_ms)
    return generations


def orphans(file: Connection, namespace: str, limit: int) -> list[Copy]:
    """Return the oldest orphans."""
    return [copy_in(*row) for row in file.rows(_ORPHANS, (namespace, limit))]


def place(transaction: Transaction, space: int, copies: Sequence[Copy]) -> None:
    """Forget that calls were orphans, unless they were sent on since."""
    keys = as_json([(copy.id, copy.generation) for copy in copies])
    transaction.change(_PLACED, (space, keys))
