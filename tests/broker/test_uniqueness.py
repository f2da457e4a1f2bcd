"""Unique calls, where nobody remembers who has a key, and where a publish is sent twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker, NotSupported, RabbitMQBroker, Unique
from asyncq.redis.keys import KeySpace
from asyncq.redis.publishing import Publication
from asyncq.transport import Envelope, Owned, Taken, UniqueTerm


@pytest.mark.parametrize("has_store", [False, True], ids=["alone", "with a store"])
async def test_on_rabbitmq(tmp_path: Path, has_store: bool) -> None:
    """A broker that keeps no unique keys says so where a task is declared, and where a call asks for it."""
    store: dict[str, Any] = {"store": f"sqlite:///{tmp_path}/facts.db"} if has_store else {}
    broker: Broker = RabbitMQBroker("amqp://localhost:1", **store)

    async def work() -> None: ...

    with pytest.raises(NotSupported, match="'work' with unique="):
        broker.task(name="work", unique=Unique())(work)
    task = broker.task(name="work")(work)
    with pytest.raises(NotSupported, match="'work' with unique="):
        task.options(unique=Unique())
    with pytest.raises(NotSupported, match="unique_keys"):
        await broker.unique_keys()
    assert "work" in broker.tasks


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
