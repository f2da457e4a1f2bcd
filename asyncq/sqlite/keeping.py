"""Keeping apart: a namespace is a ledger's or a transport's."""

from typing import Final

from asyncq.errors import ConfigurationError
from asyncq.sqlite.connection import Connection
from asyncq.sqlite.transaction import Transaction

_IS_LEDGERS: Final = "SELECT is_ledgers FROM spaces WHERE name = ?1"
_IS_USED: Final = "SELECT EXISTS(SELECT 1 FROM queues WHERE space = ?1)"
_MARK: Final = "UPDATE spaces SET is_ledgers = 1 WHERE id = ?1"


def refuse_ledgers(file: Connection, namespace: str) -> None:
    """Raise ConfigurationError where a namespace is a ledger's."""
    if _is_ledgers(file, namespace):
        raise ConfigurationError(
            f"Namespace {namespace!r} of this file belongs to a ledger: its messages are with another broker. "
            "Give the SQLite broker another one."
        )


def make_ledgers(transaction: Transaction, namespace: str) -> None:
    """Mark a namespace as a ledger's. Raises ConfigurationError where a transport has used it."""
    space = transaction.space(namespace)
    if _is_ledgers(transaction, namespace):
        return
    if transaction.rows(_IS_USED, (space,))[0][0]:
        raise ConfigurationError(
            f"Namespace {namespace!r} of this file belongs to a SQLite broker, which has messages of its own there. "
            "Give the ledger another one."
        )
    transaction.change(_MARK, (space,))


def _is_ledgers(file: Connection | Transaction, namespace: str) -> bool:
    found = file.rows(_IS_LEDGERS, (namespace,))
    return bool(found and found[0][0])
