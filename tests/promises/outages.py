"""A broker that answers nobody for a while."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.promises.pair import Server


@contextmanager
def unanswering(server: Server | None, url: str) -> Iterator[None]:
    """Let nobody write meanwhile, with all connections and files open: the server is frozen, or the file locked."""
    if server is not None:
        server.pause()
        yield
        server.resume()
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")
