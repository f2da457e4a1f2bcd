"""The lanes: where calls of groups wait, and what a transaction does to let them take turns.

They stand somewhere: in a queue (its number below zero) or in the line of a limit (its number). Each group that has a
call there has a lane, and while there are any, all calls without a group have one together, '', which may be empty.
The first lane is served and goes to the end, where a new one joins. The file itself keeps them (see `schema`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.candidates import COLUMNS, Candidate, by_waiting, candidates
from asyncq.sqlite.schema import PLACE_IN_LANE
from asyncq.sqlite.transaction import Transaction
from asyncq.terms import Terms, decode_terms, encode_terms

# ?1 rows of [stand, lane], in order
_JOIN: Final = """
INSERT OR IGNORE INTO lanes(stand, lane, turn)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
    1 + key + ifnull((SELECT max(turn) FROM lanes WHERE stand = json_extract(value, '$[0]')), 0)
FROM json_each(?1) WHERE true ORDER BY key
"""
_FIRST: Final = "SELECT lane FROM lanes WHERE stand = ?1 ORDER BY turn, lane LIMIT ?2"
_OF_EACH: Final = f"""
SELECT {COLUMNS} FROM json_each(?2) AS firsts CROSS JOIN calls ON seq IN (
    SELECT seq FROM calls WHERE stand = ?1 AND lane = firsts.value ORDER BY {PLACE_IN_LANE}, seq LIMIT ?3
)
"""
# Those that are there: each found by its name, which an UPDATE would not do.
_SERVE: Final = """
INSERT INTO lanes(stand, lane, turn)
SELECT ?1, value, 1 + key + (SELECT max(turn) FROM lanes WHERE stand = ?1) FROM json_each(?2) AS served
WHERE EXISTS(SELECT 1 FROM lanes WHERE stand = ?1 AND lane = served.value)
ON CONFLICT(stand, lane) DO UPDATE SET turn = excluded.turn
"""


def filed(terms: Terms | None) -> tuple[str | None, str | None]:
    """Return what the file knows of a call's terms: what has to be granted, and its group."""
    if terms is None:
        return None, None
    lane = terms.group.partition("\0")[0]  # where SQLite takes a text to end
    return encode_terms(terms) if terms.needs_grant else None, lane or None


def unfiled(text: str | None, lane: str | None) -> Terms | None:
    """Return terms of what the file knows of them."""
    return decode_terms(text) if text else Terms(group=lane) if lane else None


def join(transaction: Transaction, lanes: Iterable[tuple[int, str]]) -> None:
    """Let lanes (a queue's number, and a group) be there whose calls were published, in order."""
    transaction.change(_JOIN, (as_json(list(dict.fromkeys((-queue, lane) for queue, lane in lanes))),))


def first_lanes(transaction: Transaction, stand: int, limit: int) -> list[str]:
    """Return no more than so many lanes in the order of their turns; none where there are no groups."""
    return [lane for (lane,) in transaction.rows(_FIRST, (stand, limit))]


def first_of_each(transaction: Transaction, stand: int, lanes: Sequence[str], limit: int) -> dict[str, list[Candidate]]:
    """Return no more than so many calls of each of these lanes, in their order."""
    found: dict[str, list[Candidate]] = {lane: [] for lane in lanes}
    for candidate in candidates(transaction.rows(_OF_EACH, (stand, as_json(lanes), limit))):
        found[candidate.lane].append(candidate)
    for lane in found.values():
        lane.sort(key=by_waiting)
    return found


def serve(transaction: Transaction, stand: int, lanes: Iterable[str]) -> None:
    """Have lanes used up turns, in this order, some more than once."""
    last = list(dict.fromkeys(reversed(list(lanes))))
    if last:
        transaction.change(_SERVE, (stand, as_json(last[::-1])))
