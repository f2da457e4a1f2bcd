"""Lanes in the file: what keeps them, what is left behind, and what they cost those who have none."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.sqlite.schema import TABLES
from asyncq.sqlite.transaction import Transaction
from asyncq.terms import SlotTerm, Terms
from asyncq.transport import SUSPECT_CRASHES, Again, Done, Envelope, Return
from tests.sqlite.pairs import KEPT, LIMITS, QUEUE, opened

ROOM = LimitId(Kind.SLOTS, "room")
SLOT = (SlotTerm("room"),)
MANY = 50_000

# Each stand of a group's call, and each lane but that of all without a group.
_STANDING = "SELECT DISTINCT stand, lane FROM calls WHERE lane IS NOT NULL AND stand IS NOT NULL ORDER BY 1, 2"
_LANES = "SELECT stand, lane FROM lanes WHERE lane <> '' ORDER BY 1, 2"


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Read the file from outside."""
    with closing(sqlite3.connect(path)) as file:
        return file.execute(sql).fetchall()


def grouped(id: str, group: str, *, due_ms: int = 0, slots: tuple[SlotTerm, ...] = ()) -> Envelope:
    """Return a message of a group."""
    return Envelope(id, QUEUE, b"", 0, due_ms, is_fresh=True, terms=Terms(slots=slots, group=group))


async def test_a_lane_is_there_while_a_call_is(tmp_path: Path) -> None:
    """Whatever becomes of calls, there is a lane for each group that has one at a stand, and after them nothing."""
    path = tmp_path / "queue.db"

    def check() -> None:
        lanes = rows_of(path, _LANES)
        assert lanes == rows_of(path, _STANDING)
        alone = rows_of(path, "SELECT stand FROM lanes WHERE lane = ''")
        assert {stand for (stand,) in alone} == {stand for stand, _ in lanes}

    async with opened(path) as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        now_ms = pair.transport.now_ms()
        await pair.publish("plain")
        await pair.transport.publish([grouped(f"{group}{n}", group) for n in range(4) for group in "abc"])
        await pair.transport.publish([grouped(f"{group}-late", group, due_ms=now_ms + 60_000) for group in "ad"])
        await pair.transport.publish(
            [grouped(f"{group}-slot{n}", group, slots=SLOT) for n in range(2) for group in "ae"]
        )
        check()
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        for make in (
            Return,
            lambda delivery: Again(delivery, b"", 0),
            lambda delivery: Again(delivery, b"", now_ms + 60_000),
            lambda delivery: Return(delivery, is_crash=True),
            lambda delivery: Return(delivery, terms=Terms(group="new")),
        ):
            deliveries = await consumer.fetch(LIMITS, 3, suspects=0)
            check()
            assert all(await consumer.settle([make(delivery) for delivery in deliveries]))
            check()
        for id in ("a-late", "d-late"):
            assert await pair.transport.reschedule(id, QUEUE, b"", b"", 0)
            check()
        for id in ("e-slot1", "c3"):
            await pair.transport.withdraw(id, QUEUE, KEPT)
            check()
        for times in range(SUSPECT_CRASHES):
            dead = await pair.transport.consumer(f"dead-{times}", [QUEUE], lease=60)
            await dead.fetch(LIMITS, 100)
            assert await pair.transport.release([dead.name])
            check()
        while any((await pair.transport.counts([QUEUE]))[0]):
            deliveries = await consumer.fetch(LIMITS, 100, wait=False, suspects=100)
            await consumer.settle([Done(delivery, KEPT) for delivery in deliveries])
            check()
            for (id,) in rows_of(path, "SELECT id FROM calls WHERE state = 1"):
                assert await pair.transport.reschedule(str(id), QUEUE, b"", b"", 0)
    assert rows_of(path, "SELECT * FROM lanes") == rows_of(path, "SELECT * FROM lines") == []


async def test_those_without_a_group_pay_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue without groups is published to, fetched from and settled as ever, also beside one that has some."""
    asked: list[str] = []
    rows, change = Transaction.rows, Transaction.change
    monkeypatch.setattr(Transaction, "rows", lambda self, sql, p=(): asked.append(sql) or rows(self, sql, p))
    monkeypatch.setattr(Transaction, "change", lambda self, sql, p=(): asked.append(sql) or change(self, sql, p))
    async with opened(tmp_path / "queue.db") as pair:
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)

        async def statements() -> list[str]:
            asked.clear()
            await pair.transport.publish([Envelope("a", QUEUE, b"", is_fresh=True)])
            [delivery] = await consumer.fetch(LIMITS, 10, wait=False)
            assert await consumer.settle([Done(delivery, KEPT._replace(ttl_ms=0))]) == [True]
            return list(asked)

        await statements()
        alone = await statements()
        assert not [sql for sql in alone if re.search("lanes|lines", sql)]
        await pair.transport.publish([grouped("b", "group")._replace(queue="other")])
        beside = await statements()
    assert len(beside) == len(alone) + 1  # whether any of this queue has terms
    assert len([sql for sql in alone if "lane IS NOT NULL" in sql]) == 1  # a column of what is asked anyway


@pytest.mark.parametrize("groups", [1, 100, MANY])
async def test_a_fetch_costs_the_same_however_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    """Of 50,000 calls that wait, in one lane or in as many, ten are lent and ended without a walk through the rest."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        file = connect(*arguments, **options)
        file.set_progress_handler(count, 100)
        return file

    monkeypatch.setattr(sqlite3, "connect", connected)
    async with opened(tmp_path / "queue.db") as pair:
        await pair.transport.publish([grouped(f"{n}", f"{n % groups}") for n in range(MANY)])
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        steps = 0
        for _ in range(5):
            deliveries = await consumer.fetch(LIMITS, 10)
            assert len({delivery.id for delivery in deliveries}) == 10
            await consumer.settle([Done(delivery, KEPT) for delivery in deliveries])
        assert await pair.transport.withdraw(f"{MANY - 1}", QUEUE, KEPT)
    assert 0 < steps < 1_000  # of a hundred instructions each; one walk is 1,500


def test_no_trigger_walks() -> None:
    """What the file does by itself finds lanes, and calls of a lane, by an index."""
    with closing(sqlite3.connect(":memory:")) as file:
        file.executescript(TABLES)
        triggers = file.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        assert len(triggers) == 4
        steps: list[str] = []
        for (trigger,) in triggers:
            for statement in trigger.split("BEGIN")[1].removesuffix("END").strip().rstrip(";").split(";"):
                plain = re.sub(r"\b(OLD|NEW)\.\w+", "?1", statement)
                steps += [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {plain}", ("a",))]
    assert steps
    assert not [step for step in steps if re.match("SCAN (?!CONSTANT ROW)", step)]
    assert not [step for step in steps if "SEARCH calls" in step and "(stand=? AND lane=?)" not in step]
