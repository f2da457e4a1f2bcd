"""Lives: what a transaction does to let a ledger's calls begin, and to remember in which generation they ended."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from asyncq.ledger import LIFE, Copy
from asyncq.sqlite.bundle import as_json, bundled
from asyncq.sqlite.lanes import unfiled
from asyncq.sqlite.schema import ENDED, READY
from asyncq.sqlite.transaction import Transaction
from asyncq.transport import Outcome

# ?1 space, ?2 the blob of bodies, ?3 rows of [id, queue, priority, generation, start, length], ?4 the time, ?5 the
# state, ?6 holder, ?7 fetch, ?8 whether they are reopened, and orphans. A row that is there is of an earlier life.
_BEGIN: Final = """
INSERT INTO calls(
    space, id, queue, priority, generation, body, due_ms, state, holder, fetch, is_reopened, orphaned_ms
)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'),
    ifnull(substr(?2, json_extract(value, '$[4]'), json_extract(value, '$[5]')), x''), ?4, ?5, ?6, ?7, ?8,
    iif(?8, ?4, NULL)
FROM json_each(?3) WHERE true ORDER BY key
ON CONFLICT(id, space) DO UPDATE SET
    queue = excluded.queue, priority = excluded.priority, generation = excluded.generation, body = excluded.body,
    due_ms = excluded.due_ms, state = excluded.state, holder = excluded.holder, fetch = excluded.fetch,
    is_reopened = excluded.is_reopened, is_changed = 0, crashes = 0, blamed = NULL, expires_ms = NULL, progress = NULL,
    progress_end_ms = NULL, orphaned_ms = excluded.orphaned_ms, terms = NULL, line = NULL, lane = NULL
RETURNING id, seq
"""

# ?1 the blob of bodies, ?2 rows of [seq, priority, generation, start, length]
_BECOME: Final = """
UPDATE calls SET priority = json_extract(value, '$[1]'), generation = json_extract(value, '$[2]'),
    body = ifnull(substr(?1, json_extract(value, '$[3]'), json_extract(value, '$[4]')), x''), is_changed = 0
FROM (SELECT json_extract(value, '$[0]') AS own, value FROM json_each(?2)) WHERE seq = own
"""
_REMEMBER: Final = """
INSERT INTO tombstones(space, id, generation, expires_ms)
SELECT space, id, generation, ?3 FROM calls WHERE id = ?1 AND space = ?2
ON CONFLICT(space, id) DO UPDATE SET generation = excluded.generation, expires_ms = max(expires_ms, excluded.expires_ms)
"""

_LAST: Final = f"""
SELECT id, generation FROM calls
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND state = {ENDED}
UNION ALL
SELECT id, generation FROM tombstones
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires_ms > ?3
"""

# ?1 space, ?2 rows of [seq, end of the tombstone's time, whether the result is over before that, holder, fetch]: only
# what that fetch of that holder runs; without a holder: whatever it is. Before a later life there may have been a
# tombstone that has longer to stand.
_ENTOMB: Final = f"""
INSERT INTO tombstones(space, id, generation, expires_ms)
SELECT ?1, calls.id, generation, json_extract(value, '$[1]')
FROM json_each(?2) CROSS JOIN calls ON calls.seq = json_extract(value, '$[0]')
WHERE (json_extract(value, '$[2]') OR generation >= {LIFE})
    AND (json_extract(value, '$[3]') IS NULL
        OR holder = json_extract(value, '$[3]') AND fetch = json_extract(value, '$[4]'))
ON CONFLICT(space, id) DO UPDATE SET generation = excluded.generation, expires_ms = max(expires_ms, excluded.expires_ms)
"""


class Known(NamedTuple):
    """A ledger's call that has not ended.

    Attributes:
        seq: its row; 0: it begins.
        generation: what it has become.
        crashes, is_doubtful: as in `Delivery`.
        lease_end_ms: of who runs it; None: nobody.
        terms: what it needs, encoded; None: nothing.
        lane: its group; None: none.
        line: in which it waits; None: in none.
        changed_to: its body, where it was given another one while it waited and was not lent since; None: it was not.
    """

    seq: int
    generation: int
    crashes: int
    is_doubtful: bool
    lease_end_ms: int | None
    terms: str | None
    lane: str | None
    line: int | None
    changed_to: bytes | None = None

    def is_other_than(self, copy: Copy) -> bool:
        """Tell whether a copy is none of what the call was changed to, although it is of that generation."""
        return self.changed_to not in (None, copy.body) and copy.generation == self.generation


class Lending(NamedTuple):
    """To whom lives are lent that begin.

    Attributes:
        holder: the holder's number.
        fetch: which of its takes it is.
    """

    holder: int
    fetch: int


class End(NamedTuple):
    """A call that is about to end.

    Attributes:
        seq: its row.
        outcome: what is kept of it.
        ms: for how long it is remembered, as `remembered_ms` says.
        lending: that ends it, unless it is outdated; None: it ends whoever has it.
    """

    seq: int
    outcome: Outcome
    ms: int
    lending: Lending | None = None


def begin(
    transaction: Transaction, space: int, copies: Sequence[Copy], state: int, now_ms: int, lending: Lending | None
) -> dict[str, int]:
    """Let calls begin, in place of what is left of earlier ones of their ids; return their rows.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        copies: the messages.
        state: READY (each is a letter that was reopened) or RUNNING.
        now_ms: the time.
        lending: who runs them.
    """
    queues = {name: transaction.queue(space, name) for name in {copy.queue for copy in copies}}
    rows, bodies = bundled(
        (id, queues[queue], priority, generation, body) for id, queue, body, priority, generation, *_ in copies
    )
    holder, fetch = lending or (None, None)
    parameters = (space, bodies, rows, now_ms, state, holder, fetch, int(state == READY))
    return dict(transaction.rows(_BEGIN, parameters))


def copy_in(
    id: str,
    queue: str,
    body: bytes,
    priority: int,
    generation: int,
    due_ms: int,
    terms: str | None,
    lane: str | None,
) -> Copy:
    """Return what a call has become, of a row."""
    return Copy(id, queue, body, priority, generation, due_ms, unfiled(terms, lane))


def become(transaction: Transaction, newer: Iterable[tuple[int, int, int, bytes]]) -> None:
    """Let calls be what newer copies say: their rows, priorities, generations and bodies."""
    rows, bodies = bundled(newer)
    transaction.change(_BECOME, (bodies, rows))


def remember(transaction: Transaction, space: int, id: str, expires_ms: int) -> None:
    """Remember a call until then at the least, whenever it ends: a copy of what it is now may come late."""
    transaction.change(_REMEMBER, (id, space, expires_ms))


def last_generations(transaction: Transaction, space: int, ids: Iterable[str], now_ms: int) -> dict[str, int]:
    """Return in which generation calls have ended, of those ids whose end is remembered."""
    found: dict[str, int] = {}
    for id, generation in transaction.rows(_LAST, (space, as_json(list(ids)), now_ms)):
        found[id] = max(generation, found.get(id, generation))
    return found


def entomb(transaction: Transaction, space: int, ends: Sequence[End], now_ms: int) -> None:
    """Remember that calls are about to end, where their results don't say it for long enough."""
    rows = [
        (seq, now_ms + ms, outcome.record is None or outcome.ttl_ms < ms, *(lending or (None, None)))
        for seq, outcome, ms, lending in ends
    ]
    if rows:
        transaction.change(_ENTOMB, (space, as_json(rows)))
