"""Unique calls, where nobody remembers who has a key, and where a publish is sent twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncq import NotSupported, RabbitMQBroker, Unique
from asyncq.redis.keys import KeySpace
from asyncq.redis.publishing import Publication
from asyncq.transport import Envelope, Owned, Taken, UniqueTerm


async def test_without_a_memory() -> None:
    """A broker that remembers no calls says so where a task is declared, and where a call asks for it."""
    broker = RabbitMQBroker("amqp://localhost:1")

    async def work() -> None: ...

    with pytest.raises(NotSupported, match=r"'work' with unique=: this broker has no memory of calls.*store="):
        broker.task(name="work", unique=Unique())(work)
    task = broker.task(name="work")(work)
    with pytest.raises(NotSupported, match="'work' with unique="):
        task.options(unique=Unique())
    with pytest.raises(NotSupported, match="unique_keys"):
        await broker.unique_keys()
    assert "work" in broker.tasks


def test_with_a_store(tmp_path: Path) -> None:
    """With one it declares unique tasks."""
    broker = RabbitMQBroker("amqp://localhost:1", store=f"sqlite:///{tmp_path}/facts.db")

    async def work() -> None: ...

    assert broker.task(name="work", unique=Unique())(work).name == "work"


class _Replies:
    """What a server says of a publication."""

    def check(self, replies: Sequence[Any], wanted: str) -> None:
        """Find nothing wrong."""


def test_a_publish_that_is_sent_again() -> None:
    """A fresh message that was replaced since it was first sent was published; one of a chosen id is another's."""
    fresh = Envelope("a", "mail", b"old", is_fresh=True, unique=UniqueTerm("key"))
    chosen = fresh._replace(id="b", is_fresh=False)
    publication = Publication([fresh, chosen], KeySpace("test").queue, {})
    reply = [0, b"body", b"new", 1, b"body", b"new"]
    server: Any = _Replies()
    assert publication.receipts([reply], server) == [Taken(b"new", None), Taken(b"new", None)]
    publication.calls_again()
    assert publication.receipts([reply], server) == [None, Taken(b"new", None)]
    assert publication.receipts([[1, b"owner", b"mail\nc d"]], server) == [None, Owned("c d", "mail")]
