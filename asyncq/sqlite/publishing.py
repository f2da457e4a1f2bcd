"""Publishing: what a transaction does to store messages."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from asyncq.errors import PublishRefused
from asyncq.sqlite.bundle import as_json, bundled
from asyncq.sqlite.lanes import filed, join
from asyncq.sqlite.lines import WAITING
from asyncq.sqlite.replacing import replace
from asyncq.sqlite.schema import ENDED, IS_ALONE, IS_IN_LANE, IS_SUSPECT, READY, SCHEDULED
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import owners_of, take_keys
from asyncq.sqlite.waking import wake_hungry
from asyncq.transport import Envelope, KeyOwner, Owned, Receipt, Taken

MAX_MESSAGES: Final = 2_000
MAX_BYTES: Final = 16 << 20

# ?1 space, ?2 the blob of bodies, ?3 rows of [id, queue, state, priority, due_ms, start, length]
_INSERT: Final = """
INSERT INTO calls(space, id, queue, state, priority, due_ms, body)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'),
    ifnull(substr(?2, json_extract(value, '$[5]'), json_extract(value, '$[6]')), x'')
FROM json_each(?3) ORDER BY key
"""
# The same with two columns more, before the last two.
_INSERT_WITH_TERMS: Final = """
INSERT INTO calls(space, id, queue, state, priority, due_ms, terms, lane, body)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'),
    ifnull(substr(?2, json_extract(value, '$[7]'), json_extract(value, '$[8]')), x'')
FROM json_each(?3) ORDER BY key
"""

# A result whose time is over no longer takes its id.
_FORGET_EXPIRED: Final = f"""
DELETE FROM calls
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND state = {ENDED} AND expires_ms <= ?3
"""

_TAKEN: Final = f"""
SELECT id, state = {ENDED}, body FROM calls WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))
"""

_WAITING: Final = f"SELECT count(*) FROM calls WHERE queue = ?1 AND {IS_ALONE}"
_WAITING_IN_LANES: Final = f"SELECT count(*) FROM calls WHERE queue = ?1 AND {IS_IN_LANE}"
_WAITING_SUSPECTS: Final = f"SELECT count(*) FROM calls WHERE queue = ?1 AND state = {READY} AND {IS_SUSPECT}"
_WAITING_LATER: Final = f"SELECT count(*) FROM calls WHERE queue = ?1 AND state = {SCHEDULED}"

_ALL_WAITING: Final = (_WAITING, _WAITING_IN_LANES, _WAITING_SUSPECTS, _WAITING_LATER, WAITING)


def parts_of(envelopes: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    """Divide messages into what one transaction may take, which keeps every other process waiting."""
    start, size = 0, 0
    for index, envelope in enumerate(envelopes):
        if index - start == MAX_MESSAGES or (size and size + len(envelope.body) > MAX_BYTES):
            yield envelopes[start:index]
            start, size = index, 0
        size += len(envelope.body)
    if start < len(envelopes):
        yield envelopes[start:]


def publish(
    transaction: Transaction,
    space: int,
    envelopes: Sequence[Envelope],
    max_lengths: Mapping[str, int],
    now_ms: int,
    *,
    are_letters: bool = False,
) -> list[Receipt]:
    """Store messages, in order, and return a receipt for each.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        envelopes: the messages.
        max_lengths: how many may wait in a queue, where that is bounded.
        now_ms: the time.
        are_letters: they have been here before, and may have their unique keys still.
    """
    if not max_lengths and all(envelope.is_fresh and envelope.unique is None for envelope in envelopes):
        try:
            _insert(transaction, space, envelopes, now_ms)
        except sqlite3.IntegrityError:
            pass  # a fresh one that is published again, because its first receipt was lost
        else:
            return [None] * len(envelopes)
    return _publish_each(transaction, space, envelopes, max_lengths, now_ms, are_letters=are_letters)


def publish_all(
    transaction: Transaction, space: int, envelopes: Sequence[Envelope], max_lengths: Mapping[str, int], now_ms: int
) -> PublishRefused | None:
    """Store messages of one queue, unless it has no room for all of them; those whose ids are taken are passed over."""
    queue = envelopes[0].queue
    if _room(transaction, space, envelopes, max_lengths).get(queue, len(envelopes)) < len(envelopes):
        return _full(queue, max_lengths)
    _publish_each(transaction, space, envelopes, {}, now_ms, are_letters=False)
    return None


def _publish_each(
    transaction: Transaction,
    space: int,
    envelopes: Sequence[Envelope],
    max_lengths: Mapping[str, int],
    now_ms: int,
    *,
    are_letters: bool,
) -> list[Receipt]:
    taken = _taken(transaction, space, envelopes, now_ms)
    room = _room(transaction, space, envelopes, max_lengths)
    keys = {envelope.unique.key for envelope in envelopes if envelope.unique is not None}
    owners = owners_of(transaction, space, keys, now_ms) if keys else {}
    duplicates: list[tuple[KeyOwner, Envelope]] = []
    receipts: list[Receipt] = []
    accepted: list[Envelope] = []
    for envelope in envelopes:
        if (found := taken.get(envelope.id)) is not None:
            receipts.append(found)
        elif (owner := _owner_of(envelope, owners, are_letters=are_letters)) is not None:
            receipts.append(Owned(owner.id, owner.queue))
            duplicates.append((owner, envelope))
        elif room.get(envelope.queue, 1) < 1:
            receipts.append(_full(envelope.queue, max_lengths))
        else:
            receipts.append(None)
            accepted.append(envelope)
            taken[envelope.id] = Taken(envelope.body, None)
            if (term := envelope.unique) is not None:
                owners[term.key] = KeyOwner(term.key, envelope.id, envelope.queue, now_ms, term.ends_ms(now_ms))
            if envelope.queue in room:
                room[envelope.queue] -= 1
    if accepted:
        _insert(transaction, space, accepted, now_ms)
    if keys:
        take_keys(transaction, space, accepted, now_ms)
        for queue, due_ms in replace(transaction, space, _lasting(duplicates), now_ms).items():
            wake_hungry(transaction, [queue], due_ms)
    return receipts


def _owner_of(envelope: Envelope, owners: Mapping[str, KeyOwner], *, are_letters: bool) -> KeyOwner | None:
    owner = None if envelope.unique is None else owners.get(envelope.unique.key)
    return None if owner is None or (are_letters and owner.id == envelope.id) else owner


def _lasting(duplicates: Iterable[tuple[KeyOwner, Envelope]]) -> Iterable[tuple[KeyOwner, Envelope]]:
    """Return those of which something is left when all have come: the last of each call, and the last that moves it."""
    lasting: dict[tuple[str, bool], tuple[KeyOwner, Envelope]] = {}
    for owner, envelope in duplicates:
        if (term := envelope.unique) is not None and term.replaces:
            lasting.pop((owner.id, term.moves), None)  # it comes behind the others
            lasting[owner.id, term.moves] = owner, envelope
    return lasting.values()


def _full(queue: str, max_lengths: Mapping[str, int]) -> PublishRefused:
    return PublishRefused(f"Queue {queue!r} is full: {max_lengths[queue]} messages may wait in it.")


def _taken(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> dict[str, Taken]:
    ids = as_json([envelope.id for envelope in envelopes])
    transaction.change(_FORGET_EXPIRED, (space, ids, now_ms))
    return {
        id: Taken(None, body) if has_ended else Taken(body, None)
        for id, has_ended, body in transaction.rows(_TAKEN, (space, ids))
    }


def _room(
    transaction: Transaction, space: int, envelopes: Sequence[Envelope], max_lengths: Mapping[str, int]
) -> Counter[str]:
    """Return how many messages each queue that is bounded can still take."""
    room = Counter[str]()
    for queue in {envelope.queue for envelope in envelopes} & max_lengths.keys():
        number = (transaction.queue(space, queue),)
        counts = [transaction.rows(sql, number)[0][0] for sql in _ALL_WAITING]
        room[queue] = max_lengths[queue] - sum(counts)
    return room


def _insert(transaction: Transaction, space: int, envelopes: Sequence[Envelope], now_ms: int) -> None:
    queues = {queue: transaction.queue(space, queue) for queue in {envelope.queue for envelope in envelopes}}
    if any(envelope.terms for envelope in envelopes):
        _insert_with_terms(transaction, space, envelopes, queues, now_ms)
    else:
        rows, bodies = bundled(
            (id, queues[queue], SCHEDULED if due_ms > now_ms else READY, priority, max(due_ms, now_ms), body)
            for id, queue, body, priority, due_ms, *_ in envelopes
        )
        transaction.change(_INSERT, (space, bodies, rows))
    first_due_ms = min(envelope.due_ms for envelope in envelopes)
    wake_hungry(transaction, queues.values(), first_due_ms if first_due_ms > now_ms else 0)


def _insert_with_terms(
    transaction: Transaction, space: int, envelopes: Sequence[Envelope], queues: Mapping[str, int], now_ms: int
) -> None:
    columns: list[tuple[object, ...]] = []
    lanes: list[tuple[int, str]] = []
    for id, queue, body, priority, due_ms, _, _, terms in envelopes:
        state = SCHEDULED if due_ms > now_ms else READY
        text, lane = filed(terms)
        columns.append((id, queues[queue], state, priority, max(due_ms, now_ms), text, lane, body))
        if lane is not None and state == READY:
            lanes.append((queues[queue], lane))
    rows, bodies = bundled(columns)
    transaction.change(_INSERT_WITH_TERMS, (space, bodies, rows))
    if lanes:
        join(transaction, lanes)
