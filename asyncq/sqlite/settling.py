"""Settling: what a transaction does to end deliveries, and calls."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from asyncq.sqlite.bundle import as_json, bundled
from asyncq.sqlite.freeing import free
from asyncq.sqlite.lanes import filed
from asyncq.sqlite.publishing import publish
from asyncq.sqlite.rings import notice_of_end
from asyncq.sqlite.schema import ENDED, HANDED_BACK, IS_SUSPECT, READY, RUNNING, SCHEDULED
from asyncq.sqlite.slots import ARE_HELD
from asyncq.sqlite.telling import tell
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import ARE_TAKEN, give_back
from asyncq.sqlite.waking import wake_for_returned, wake_hungry
from asyncq.transport import Again, Dead, Done, Envelope, Outcome, Return, Settlement

# Which deliveries are still the consumer's; one row, because each row costs the interpreter's lock.
# CROSS JOIN fixes the order of the loops: the planner knows nothing of the length of a JSON array.
# ?1 rows of [seq, fetch], ?2 the consumer
_OWN: Final = f"""
SELECT json_group_array(deliveries.key), {ARE_TAKEN}, {ARE_HELD}
FROM json_each(?1) AS deliveries CROSS JOIN calls ON calls.seq = json_extract(deliveries.value, '$[0]')
WHERE state = {RUNNING} AND holder = ?2 AND fetch = json_extract(deliveries.value, '$[1]')
"""

# ?1 the blob of records, ?2 rows of [seq, expires_ms, start, length]
_KEEP: Final = f"""
UPDATE calls SET state = {ENDED}, holder = NULL, progress = NULL, terms = NULL, lane = NULL,
    expires_ms = json_extract(value, '$[1]'),
    body = ifnull(substr(?1, json_extract(value, '$[2]'), json_extract(value, '$[3]')), x'')
FROM (SELECT json_extract(value, '$[0]') AS own, value FROM json_each(?2)) WHERE seq = own
"""
_DROP: Final = "DELETE FROM calls WHERE seq IN (SELECT value FROM json_each(?1))"

# ?1 the blob of bodies, ?2 rows of [seq, state, due_ms, start, length]
_RESCHEDULE: Final = """
UPDATE calls SET state = json_extract(value, '$[1]'), holder = NULL, due_ms = json_extract(value, '$[2]'),
    body = ifnull(substr(?1, json_extract(value, '$[3]'), json_extract(value, '$[4]')), x'')
FROM (SELECT json_extract(value, '$[0]') AS own, value FROM json_each(?2)) WHERE seq = own
"""
_HAND_BACK: Final = f"""
UPDATE calls SET {HANDED_BACK} WHERE seq IN (SELECT value FROM json_each(?1))
"""
_SET_TERMS: Final = "UPDATE calls SET terms = ?2, lane = ?3 WHERE seq = ?1"
_ADD_CRASH: Final = """
UPDATE calls SET crashes = crashes + 1 WHERE seq IN (SELECT value FROM json_each(?1))
"""
_RETURNED: Final = f"""
SELECT DISTINCT queue, {IS_SUSPECT} FROM calls WHERE seq IN (SELECT value FROM json_each(?1))
"""
_BLAMED_ON: Final = f"blamed IS NOT NULL AND state <> {ENDED} AND instr(blamed, ' ' || ?1 || ' ')"
_BLAMED_QUEUES: Final = f"SELECT DISTINCT queue FROM calls WHERE {_BLAMED_ON}"
_ABSOLVE: Final = f"""
UPDATE calls SET crashes = crashes - 1, blamed = replace(blamed, ' ' || ?1 || ' ', ' ') WHERE {_BLAMED_ON}
"""

# ?1 the blob of records, ?2 rows of [seq, reason, expires_ms, has_record, start, length], ?3 now
_BURY: Final = """
INSERT OR REPLACE INTO letters(queue, id, reason, died_ms, expires_ms, record, body)
SELECT queue, calls.id, json_extract(value, '$[1]'), ?3, json_extract(value, '$[2]'),
    CASE WHEN json_extract(value, '$[3]') THEN substr(?1, json_extract(value, '$[4]'), json_extract(value, '$[5]')) END,
    body
FROM json_each(?2) CROSS JOIN calls ON calls.seq = json_extract(value, '$[0]') ORDER BY key
"""
_TRIM: Final = """
DELETE FROM letters WHERE queue = ?1
AND seq <= (SELECT seq FROM letters WHERE queue = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)
"""


class Ending(NamedTuple):
    """A call that ends.

    Attributes:
        seq: number of its row.
        id: the call's.
        outcome: what is kept of it, and who is told.
        then: what is published afterwards.
    """

    seq: int
    id: str
    outcome: Outcome
    then: Sequence[Envelope] = ()


def token_of(seq: int, fetch: int) -> str:
    """Return the token of a delivery: the message's row, and the fetch of its consumer that took it."""
    return f"{seq}.{fetch}"


def numbers_in(token: str) -> tuple[int, int]:
    """Return the row and the fetch in the token of a delivery."""
    seq, fetch = token.split(".")
    return int(seq), int(fetch)


def settle(
    transaction: Transaction, space: int, holder: int, settlements: Sequence[Settlement], dead_cap: int, now_ms: int
) -> list[bool]:
    """End those deliveries that are still the holder's, and return for each whether it was."""
    own, has_keys, has_slots = _own(transaction, holder, settlements)
    free(transaction, list(own.values()) if has_slots else [], now_ms)
    endings: list[Ending] = []
    letters: list[tuple[int, Dead]] = []
    next_attempts: list[tuple[int, Again]] = []
    returns: list[tuple[int, Return]] = []
    for index, seq in own.items():
        match settlements[index]:
            case Done(delivery, outcome, then):
                endings.append(Ending(seq, delivery.id, outcome, then))
            case Dead(delivery, outcome, then=then) as dead:
                letters.append((seq, dead))
                endings.append(Ending(seq, delivery.id, outcome, then))
            case Again() as again:
                next_attempts.append((seq, again))
            case Return() as back:
                returns.append((seq, back))
    if letters:
        _bury(transaction, space, letters, dead_cap, now_ms)
    if endings:
        end_calls(transaction, space, endings, now_ms, has_keys=has_keys)
    if next_attempts:
        _reschedule(transaction, space, next_attempts, now_ms)
    if returns:
        _hand_back(transaction, returns)
    return [index in own for index in range(len(settlements))]


def end_calls(
    transaction: Transaction, space: int, endings: Sequence[Ending], now_ms: int, *, has_keys: bool = True
) -> None:
    """Keep the outcomes of calls that end, tell who waits for them, and publish what follows.

    `has_keys`: they may have unique keys, which they give back.
    """
    if has_keys:
        give_back(transaction, space, [ending.id for ending in endings])
    kept: list[tuple[int, int, bytes]] = []
    dropped: list[int] = []
    for seq, _, (record, ttl_ms, _), _ in endings:
        if record is not None and ttl_ms > 0:
            kept.append((seq, now_ms + ttl_ms, record))
        else:
            dropped.append(seq)
    if kept:
        rows, records = bundled(kept)
        transaction.change(_KEEP, (records, rows))
    if dropped:
        transaction.change(_DROP, (as_json(dropped),))
    told = [(notice_of_end(id, outcome.record), outcome.reply) for _, id, outcome, _ in endings]
    tell(transaction, space, told, now_ms)
    if follow_ups := _follow_ups(endings):
        publish(transaction, space, follow_ups, {}, now_ms)


def absolve(transaction: Transaction, consumer: int) -> None:
    """Take back the crashes that were counted in a consumer's name."""
    queues = {queue for (queue,) in transaction.rows(_BLAMED_QUEUES, (consumer,))}
    if queues:
        transaction.change(_ABSOLVE, (consumer,))
        wake_hungry(transaction, queues, 0)  # no suspects any more, they may be for those who were not woken for them


def _own(transaction: Transaction, holder: int, settlements: Sequence[Settlement]) -> tuple[dict[int, int], bool, bool]:
    """Return the rows of those deliveries that are the holder's, by index, each once.

    And whether any calls have unique keys, and whether any hold slots.
    """
    first: dict[str, int] = {}
    for index, settlement in enumerate(settlements):
        first.setdefault(settlement.delivery.token, index)
    tokens = [numbers_in(token) for token in first]
    ((keys, has_keys, has_slots),) = transaction.rows(_OWN, (as_json(tokens), holder))
    indexes = list(first.values())
    return {indexes[key]: tokens[key][0] for key in sorted(orjson.loads(keys))}, bool(has_keys), bool(has_slots)


def _follow_ups(endings: Sequence[Ending]) -> list[Envelope]:
    """Return what follows calls that end one after the other, without what bears the id of one that ends later."""
    turns = {ending.id: turn for turn, ending in enumerate(endings)}
    return [
        envelope
        for turn, ending in enumerate(endings)
        for envelope in ending.then
        if turns.get(envelope.id, turn) <= turn
    ]


def _hand_back(transaction: Transaction, returns: Sequence[tuple[int, Return]]) -> None:
    seqs = as_json([seq for seq, _ in returns])
    if crashed := [seq for seq, back in returns if back.is_crash]:
        transaction.change(_ADD_CRASH, (as_json(crashed),))
    for seq, back in returns:
        if back.terms is not None:
            transaction.change(_SET_TERMS, (seq, *filed(back.terms)))
    transaction.change(_HAND_BACK, (seqs,))
    wake_for_returned(transaction, transaction.rows(_RETURNED, (seqs,)))


def _reschedule(transaction: Transaction, space: int, attempts: Sequence[tuple[int, Again]], now_ms: int) -> None:
    rows, bodies = bundled(
        (seq, SCHEDULED if again.due_ms > now_ms else READY, max(again.due_ms, now_ms), again.body)
        for seq, again in attempts
    )
    transaction.change(_RESCHEDULE, (bodies, rows))
    first_due_ms = min(again.due_ms for _, again in attempts)
    queues = {transaction.queue(space, again.delivery.queue) for _, again in attempts}
    wake_hungry(transaction, queues, first_due_ms if first_due_ms > now_ms else 0)


def _bury(
    transaction: Transaction, space: int, letters: Sequence[tuple[int, Dead]], dead_cap: int, now_ms: int
) -> None:
    rows, records = bundled(
        (
            seq,
            dead.reason.encode(errors="replace").decode(),  # an exception's text may hold what is no UTF-8
            now_ms + dead.letter_ttl_ms,
            dead.letter_record is not None,
            dead.letter_record or b"",
        )
        for seq, dead in letters
    )
    transaction.change(_BURY, (records, rows, now_ms))
    for queue in {dead.delivery.queue for _, dead in letters}:
        transaction.change(_TRIM, (transaction.queue(space, queue), dead_cap))
