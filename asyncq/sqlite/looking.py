"""Looking: what is read for those who look after queues and consumers."""

from typing import Final

from asyncq.sqlite.connection import Connection
from asyncq.sqlite.schema import IS_ALONE, IS_IN_LANE, IS_SUSPECT, READY, SCHEDULED
from asyncq.transport import Member

_QUEUES: Final = """
SELECT queues.name FROM queues JOIN spaces ON spaces.id = queues.space WHERE spaces.name = ?1 ORDER BY queues.name
"""

# What has become due is made ready when somebody fetches.
_FIRST_IN_LINE: Final = f"""
WITH own(queue) AS (
    SELECT queues.id FROM queues JOIN spaces ON spaces.id = queues.space WHERE spaces.name = ?1 AND queues.name = ?2
)
SELECT (
    SELECT body FROM calls WHERE calls.queue = own.queue AND {IS_ALONE} AND priority = value
    ORDER BY due_ms, seq LIMIT 1
)
FROM own, json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]')
UNION ALL
SELECT (
    SELECT body FROM calls WHERE calls.queue = own.queue AND {IS_IN_LANE} AND priority = value
    ORDER BY due_ms, seq LIMIT 1
)
FROM own, json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]')
UNION ALL
SELECT (
    SELECT body FROM calls WHERE calls.queue = own.queue AND state = {READY} AND {IS_SUSPECT} AND priority = value
    ORDER BY due_ms, seq LIMIT 1
)
FROM own, json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]')
UNION ALL
SELECT (
    SELECT body FROM calls WHERE calls.queue = own.queue AND state = {SCHEDULED} AND due_ms <= ?3
    ORDER BY due_ms LIMIT 1
)
FROM own
"""

_MEMBERS: Final = """
SELECT consumers.name, group_concat(queues.name, ' '), lease_end_ms, about
FROM consumers
LEFT JOIN members ON members.consumer = consumers.id
LEFT JOIN queues ON queues.id = members.queue
WHERE consumers.space = (SELECT id FROM spaces WHERE name = ?1)
GROUP BY consumers.id ORDER BY consumers.name
"""


def known_queues(file: Connection, namespace: str) -> list[str]:
    """Return the names of all queues."""
    return [name for (name,) in file.rows(_QUEUES, (namespace,))]


def first_in_line(file: Connection, namespace: str, queue: str, now_ms: int) -> list[bytes]:
    """Return the bodies of those that have been ready for longest, one at least of each priority."""
    return [body for (body,) in file.rows(_FIRST_IN_LINE, (namespace, queue, now_ms)) if body is not None]


def members(file: Connection, namespace: str) -> list[Member]:
    """Return the consumers by name."""
    return [
        Member(name, (queues or "").split(), lease_end_ms, about)
        for name, queues, lease_end_ms, about in file.rows(_MEMBERS, (namespace,))
    ]
