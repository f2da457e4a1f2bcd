"""A transaction, as the pieces of work see it that are done in it."""

from typing import Any

from asyncq.sqlite.connection import Connection, Parameters
from asyncq.sqlite.directory import Directory
from asyncq.sqlite.rings import Ring
from asyncq.store import Address


class Transaction:
    """What a piece of work may do: run statements, and say whom to ring when they are committed."""

    __slots__ = ("_connection", "directory", "rings")

    def __init__(self, connection: Connection, directory: Directory) -> None:
        self._connection = connection
        self.directory = directory
        self.rings: list[tuple[Address, Ring]] = []

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one statement and return all of its rows."""
        return self._connection.rows(sql, parameters)

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return how many rows it changed."""
        return self._connection.change(sql, parameters)

    def space(self, namespace: str) -> int:
        """Return the number of a namespace."""
        return self.directory.space(self._connection, namespace)

    def queue(self, space: int, name: str) -> int:
        """Return the number of a queue."""
        return self.directory.queue(self._connection, space, name)

    def ring(self, address: Address, ring: Ring) -> None:
        """Ring an address after the commit."""
        self.rings.append((address, ring))
