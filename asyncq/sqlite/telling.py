"""Telling: what a transaction does to let processes know what has become of calls."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.rings import Ring
from asyncq.sqlite.transaction import Transaction
from asyncq.store import Address, Notice

_WATCHERS: Final = """
SELECT id, address FROM watchers
WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2)) AND expires_ms > ?3
"""
_FORGET: Final = "DELETE FROM watchers WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))"
_LISTENERS: Final = "SELECT address FROM listeners WHERE space = ?1"


def tell(transaction: Transaction, space: int, told: Iterable[tuple[Notice, Address]], now_ms: int) -> None:
    """Tell each notice, once the transaction is committed, to its address and to those who watch the call.

    Who watches a call that is over is forgotten.
    """
    notices = {notice.id: notice for notice, _ in told}
    replies = {notice.id: address for notice, address in told}
    posts: defaultdict[Address, dict[str, Notice]] = defaultdict(dict)
    for id, address in replies.items():
        if address:
            posts[address][id] = notices[id]
    watchers = transaction.rows(_WATCHERS, (space, as_json(list(notices)), now_ms))
    for id, address in watchers:
        posts[address][id] = notices[id]
    if over := {id for id, _ in watchers if notices[id].is_over}:
        transaction.change(_FORGET, (space, as_json(list(over))))
    for address, post in posts.items():
        transaction.ring(address, Ring(0, notices=list(post.values())))


def tell_all(transaction: Transaction, space: int) -> None:
    """Tell every listener of a namespace to look at everything: a process died, and perhaps before it told all."""
    for (address,) in transaction.rows(_LISTENERS, (space,)):
        transaction.ring(address, Ring(0))
