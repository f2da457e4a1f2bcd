"""The directory: the numbers under which the file knows namespaces and queues."""

from asyncq.sqlite.connection import Connection

_ADD_SPACE = "INSERT OR IGNORE INTO spaces(name) VALUES (?1)"
_SPACE = "SELECT id FROM spaces WHERE name = ?1"
_ADD_QUEUE = "INSERT OR IGNORE INTO queues(space, name) VALUES (?1, ?2)"
_QUEUE = "SELECT id FROM queues WHERE space = ?1 AND name = ?2"


class Directory:
    """Looks numbers up inside a transaction, adds what is new, and remembers.

    It has to be cleared when a transaction is undone: a number may have been given in it.
    """

    def __init__(self) -> None:
        self._spaces: dict[str, int] = {}
        self._queues: dict[tuple[int, str], int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._spaces.clear()
        self._queues.clear()

    def space(self, connection: Connection, name: str) -> int:
        """Return the number of a namespace."""
        number = self._spaces.get(name)
        if number is None:
            connection.change(_ADD_SPACE, (name,))
            number = self._spaces[name] = connection.rows(_SPACE, (name,))[0][0]
        return number

    def queue(self, connection: Connection, space: int, name: str) -> int:
        """Return the number of a queue."""
        number = self._queues.get((space, name))
        if number is None:
            connection.change(_ADD_QUEUE, (space, name))
            number = self._queues[space, name] = connection.rows(_QUEUE, (space, name))[0][0]
        return number
