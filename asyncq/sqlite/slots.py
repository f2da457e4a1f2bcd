"""The slots of one count of a concurrency limit, as a transaction sees them."""

from typing import Final

from asyncq.limits import Numbers
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.schema import FAR_MS
from asyncq.sqlite.transaction import Transaction

ARE_HELD: Final = "EXISTS(SELECT 1 FROM holds)"
"""A column that says whether there are any: asked along with what is asked anyway."""

_OWN: Final = "space = ?1 AND limit_key = ?2"
_COUNT: Final = f"""
SELECT count(*), min(until_ms) FROM holds WHERE {_OWN} AND (until_ms IS NULL OR until_ms > ?3)
"""
_HOLD: Final = """
INSERT OR REPLACE INTO holds(space, limit_key, holder, until_ms)
SELECT ?1, ?2, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?3)
"""
_IS_HELD: Final = f"SELECT 1 FROM holds WHERE {_OWN} AND holder = ?3 AND until_ms > ?4"
_RENEW: Final = f"UPDATE holds SET until_ms = ?5 WHERE {_OWN} AND holder = ?3 AND until_ms > ?4"
_GIVE_BACK: Final = f"DELETE FROM holds WHERE {_OWN} AND holder = ?3 RETURNING until_ms"


class Slots:
    """Counts who holds slots, and grants further ones; those are in the file after `write`.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        limit_key: which count.
        numbers: what it allows.
        now_ms: the time.
    """

    def __init__(self, transaction: Transaction, space: int, limit_key: str, numbers: Numbers, now_ms: int) -> None:
        self._transaction = transaction
        self._own = (space, limit_key)
        self._numbers = numbers
        self._granted: list[tuple[int | str, int | None]] = []
        self._count, self._first_end_ms = transaction.rows(_COUNT, (*self._own, now_ms))[0]

    def due_ms(self) -> int:
        """Return when there is a slot: 0 means now, FAR_MS when one is given back."""
        if self._count < self._numbers.limit:
            return 0
        return FAR_MS if self._first_end_ms is None else self._first_end_ms

    def grant(self, holder: int | str, until_ms: int | None) -> None:
        """Give a slot that is free to a call, or for a time to somebody outside of tasks."""
        self._count += 1
        self._granted.append((holder, until_ms))

    def write(self) -> None:
        """Write down who has got one."""
        if self._granted:
            self._transaction.change(_HOLD, (*self._own, as_json(self._granted)))
            self._granted = []


def is_held(transaction: Transaction, space: int, limit_key: str, holder: str, now_ms: int) -> bool:
    """Tell whether somebody outside of tasks holds a slot."""
    return bool(transaction.rows(_IS_HELD, (space, limit_key, holder, now_ms)))


def renew(transaction: Transaction, space: int, limit_key: str, holder: str, until_ms: int, now_ms: int) -> bool:
    """Let somebody outside of tasks hold a slot for longer; False: it was lost."""
    return transaction.change(_RENEW, (space, limit_key, holder, now_ms, until_ms)) == 1


def give_back(transaction: Transaction, space: int, limit_key: str, holder: str, now_ms: int) -> bool:
    """Free a slot that somebody outside of tasks holds; False: it was lost before."""
    found = transaction.rows(_GIVE_BACK, (space, limit_key, holder))
    return bool(found) and found[0][0] > now_ms
