"""How suspects are found, and who is woken for them."""

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import asyncq.sqlite.consumer
from asyncq.queues import Queue
from asyncq.sqlite import lending
from asyncq.sqlite.consumer import SQLiteConsumer
from asyncq.sqlite.schema import TABLES
from asyncq.transport import SUSPECT_CRASHES, Again, Envelope, Return
from tests.sqlite.pairs import LIMITS, QUEUE, Pair, make_pair, opened
from tests.waiting import wait_until


def plan_of(name: str) -> str:
    """Return how SQLite finds what a statement of lending names."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {getattr(lending, name)}", {"1": 1, "2": 1})
    plan = "; ".join(row[3] for row in rows)
    connection.close()
    return plan


async def suspects(pair: Pair, *ids: str) -> None:
    """Publish messages that consumers die with until they are suspects."""
    await pair.publish(*ids)
    for times in range(SUSPECT_CRASHES):
        dead = await pair.transport.consumer(f"dead-{ids[0]}-{times}", [QUEUE], lease=60)
        await dead.fetch(LIMITS, len(ids))
        assert await pair.transport.release([dead.name]) == len(ids)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each consumer has looked at its queues, by its number."""
    counter = Counter[int]()
    take = lending.take

    def counted(transaction: Any, space: int, consumer: int, *rest: Any) -> Any:
        counter[consumer] += 1
        return take(transaction, space, consumer, *rest)

    monkeypatch.setattr(asyncq.sqlite.consumer, "take", counted)
    return counter


@pytest.mark.parametrize(("name", "index"), [("_READY", "calls_ready"), ("_SUSPECTS", "calls_suspect")])
def test_both_kinds_stand_in_an_index_of_their_own(name: str, index: str) -> None:
    """What is ready and what is suspect are each read from an index, in its order: nothing is sorted or passed over."""
    plan = plan_of(name)
    assert f"USING INDEX {index} (queue=?)" in plan
    assert "TEMP B-TREE" not in plan


async def test_nobody_looks_for_suspects_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch reads suspects only while the file holds some."""
    monkeypatch.setattr(lending, "_SUSPECTS", "SELECT * FROM suspects_were_looked_for")
    async with opened(tmp_path / "queue.db") as pair:
        await pair.finish(count=0)
        await pair.publish("a", "b")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        for _ in range(SUSPECT_CRASHES):
            (a,) = await consumer.fetch(LIMITS, 1)
            assert list(await consumer.settle([Return(a, is_crash=True)])) == [True]
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 2, suspects=0)] == ["b"]
        with pytest.raises(Exception, match="suspects_were_looked_for"):
            await consumer.fetch(LIMITS, 2, wait=False)


async def test_who_may_take_none_sleeps(tmp_path: Path, looks: Counter[int]) -> None:
    """However many suspects come and go, a fetch that may take none looks once; a plain message wakes it."""
    async with opened(tmp_path / "queue.db") as pair, opened(tmp_path / "queue.db") as other:
        await suspects(pair, *(str(n) for n in range(50)))
        sleeper = await pair.transport.consumer("sleeper", [QUEUE], lease=60)
        fetching = asyncio.create_task(sleeper.fetch(LIMITS, 10, suspects=0))
        await wait_until(lambda: len(looks) == 3, "the first look")
        sleepers = list(looks)[2]
        busy = await other.transport.consumer("busy", [QUEUE], lease=60)
        for _ in range(20):
            deliveries = await busy.fetch(LIMITS, 10)
            assert [delivery.crashes for delivery in deliveries] == [2]
            assert all(await busy.settle([Return(delivery) for delivery in deliveries]))
        deliveries = await busy.fetch(LIMITS, 50, suspects=50)
        assert await busy.leave() == len(deliveries) == 50
        assert looks[sleepers] == 1
        await other.publish("plain")
        assert [delivery.id for delivery in await fetching] == ["plain"]


async def test_a_suspect_that_becomes_due_is_found(tmp_path: Path) -> None:
    """A suspect's next attempt is taken in the look that finds it due, by who has waited for its time."""
    async with opened(tmp_path / "queue.db") as pair:
        await suspects(pair, "a")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        (delivery,) = await consumer.fetch(LIMITS, 1)
        due_ms = pair.transport.now_ms() + 50
        assert list(await consumer.settle([Again(delivery, b"retry", due_ms)])) == [True]
        (delivery,) = await consumer.fetch(LIMITS, 1)
        assert (delivery.id, delivery.crashes) == ("a", 2)
        assert due_ms <= pair.transport.now_ms() < due_ms + 1_000


async def test_a_cut_off_fetch_wakes_others_for_what_it_gives_back(tmp_path: Path, looks: Counter[int]) -> None:
    """A suspect that a fetch took whose caller had gone wakes another consumer when the first looks again."""
    lock = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    async with opened(tmp_path / "queue.db") as pair, opened(tmp_path / "queue.db") as other:
        await suspects(pair, "a")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        while (await other.transport.counts([QUEUE]))[0].running == 0:
            await _cut_off_fetch(pair, consumer, lock)
        lock.close()
        waiter = await other.transport.consumer("waiter", [QUEUE], lease=60)
        waiting = asyncio.create_task(waiter.fetch(LIMITS, 1))
        await wait_until(lambda: len(looks) == 4, "the waiter to have looked")
        assert list(await consumer.fetch(LIMITS, 1, wait=False, suspects=0)) == []
        async with asyncio.timeout(1):
            assert [delivery.id for delivery in await waiting] == ["a"]


async def test_suspects_fill_a_bounded_queue(tmp_path: Path) -> None:
    """A suspect that waits counts among those that may wait, and among the ready ones."""
    pair = make_pair(tmp_path / "queue.db", queues=[Queue(QUEUE, max_length=2)])
    await pair.store.open()
    await pair.transport.open()
    await suspects(pair, "a", "b")
    (receipt,) = await pair.transport.publish([Envelope("c", QUEUE, b"")])
    assert "2 messages may wait" in str(receipt)
    assert (await pair.transport.counts([QUEUE]))[0].ready == 2
    await pair.transport.close()
    await pair.store.close()


async def _cut_off_fetch(pair: Pair, consumer: SQLiteConsumer, lock: sqlite3.Connection) -> None:
    """Cancel a fetch that waits for the lock, which takes effect after all if its statement is under way by then."""
    lock.execute("BEGIN IMMEDIATE")
    fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
    await pair.transport.counts([QUEUE])  # is read while the fetch waits for the lock
    fetching.cancel()
    await asyncio.wait([fetching])
    lock.execute("COMMIT")
    await pair.transport.release(["nobody"])  # is written behind the fetch
