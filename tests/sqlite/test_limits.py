"""Limits in the file: the rules of its log, what is left behind, and what they cost those who have none."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncq.clock import SystemClock
from asyncq.limits import GrantLog, Kind, LimitId, Numbers
from asyncq.sqlite.grants import Grants
from asyncq.sqlite.schema import TABLES
from asyncq.sqlite.sweeper import Sweeper
from asyncq.sqlite.transaction import Transaction
from asyncq.terms import SlotTerm, Terms
from asyncq.transport import Done, Envelope
from tests.drained_limits import API, ROOM, drain
from tests.sqlite.pairs import KEPT, LIMITS, QUEUE, opened
from tests.waiting import wait_until

KEPT_TABLES = ["grants", "holds", "lines", "waiters", "pauses"]


class File:
    """The part of a transaction that a log asks, on a file in memory."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.executescript(TABLES)

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        return self._connection.execute(sql, {str(n): each for n, each in enumerate(parameters, 1)}).fetchall()

    def change(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        return self._connection.execute(sql, {str(n): each for n, each in enumerate(parameters, 1)}).rowcount

    def close(self) -> None:
        self._connection.close()


steps = st.lists(
    st.tuples(st.integers(-30, 400), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 1)),
    max_size=40,
)
"""Of each transaction: ms since the one before (a clock may be set back), weights asked for, and which numbers hold."""


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 1_000), st.integers(0, 8), steps)
def test_the_log_of_the_file_is_the_log(
    limit: int, per_ms: int, burst: int, transactions: list[tuple[int, list[int], int]]
) -> None:
    """Whatever is asked for when, the file's log names the times that the log of memory names."""
    variants = [Numbers(limit, per_ms, min(burst, limit)), Numbers(limit + 2, per_ms)]
    log, now_ms = GrantLog(), 1_000_000
    with closing(File()) as file:
        for after_ms, weights, variant in transactions:
            now_ms += after_ms
            numbers = variants[variant]
            grants = Grants(cast("Transaction", file), 1, "rate api ", numbers, now_ms)
            for weight in weights:
                due_ms = log.due_ms(numbers, weight, now_ms)
                assert max(grants.due_ms(weight), now_ms) == max(due_ms, now_ms)
                if due_ms <= now_ms:
                    grants.grant(weight)
                    log.grant(numbers, min(weight, numbers.limit), now_ms)
            grants.write()


def rows_in(path: Path, table: str) -> int:
    """Count the rows of a table."""
    with closing(sqlite3.connect(path)) as file:
        return file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def test_nothing_is_left_after_a_drain(tmp_path: Path) -> None:
    """After every kind of end, and of use outside of tasks, the tables of limits are empty once they are swept."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        office = pair.transport.limits()
        assert not (await office.ask(LimitId(Kind.RATE, "unknown"), "", 1, "dead", 200)).is_granted
        await drain(pair.transport, await pair.transport.consumer("worker", [QUEUE], lease=60))
        assert rows_in(path, "lines") == 0

        async def is_swept() -> bool:
            await pair.database.write(lambda transaction: transaction.change("DELETE FROM duties"))
            await Sweeper(pair.database, SystemClock()).sweep()
            return not any(rows_in(path, table) for table in KEPT_TABLES)

        await wait_until(is_swept, "all of it is over")


async def test_ten_thousand_wait_in_order(tmp_path: Path) -> None:
    """While one call holds the only slot, 10,000 others wait without a statement, and then start in order."""
    async with opened(tmp_path / "queue.db") as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        terms = Terms(slots=(SlotTerm("room"),))
        await pair.transport.publish(
            [Envelope(f"{n:05}", QUEUE, b"", is_fresh=True, terms=terms) for n in range(10_000)]
        )
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        [held] = await consumer.fetch(LIMITS, 1)
        while (await pair.transport.counts([QUEUE]))[0].ready:
            assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert (await pair.transport.counts([QUEUE]))[0].waiting == 9_999
        waiting = asyncio.create_task(consumer.fetch(LIMITS, 10))
        for n in range(1, 100):
            assert await consumer.settle([Done(held, KEPT)]) == [True]
            [held] = await waiting
            assert held.id == f"{n:05}"
            waiting = asyncio.create_task(consumer.fetch(LIMITS, 10))
        await consumer.interrupt()
        await waiting


async def test_those_without_limits_pay_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no call needs a limit, fetching and settling ask no table of limits for more than whether it is empty."""
    statements: list[str] = []
    rows, change = Transaction.rows, Transaction.change
    monkeypatch.setattr(Transaction, "rows", lambda self, sql, p=(): statements.append(sql) or rows(self, sql, p))
    monkeypatch.setattr(Transaction, "change", lambda self, sql, p=(): statements.append(sql) or change(self, sql, p))
    async with opened(tmp_path / "queue.db") as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1), API: Numbers(1, 60_000)})
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        statements.clear()
        await pair.transport.publish([Envelope("a", QUEUE, b"", is_fresh=True)])
        [delivery] = await consumer.fetch(LIMITS, 10, wait=False)
        assert await consumer.settle([Done(delivery, KEPT)]) == [True]
    asked = [
        sql
        for sql in statements
        if any(f"{verb} {table}" in sql for verb in ("FROM", "INTO", "UPDATE") for table in KEPT_TABLES)
    ]
    assert len(asked) == 1, asked  # whether slots are held: a column of what is asked anyway
    assert sum("terms IS NOT NULL" in sql for sql in statements) == 1


async def test_a_lost_answer_frees_what_it_had_granted(tmp_path: Path) -> None:
    """What a fetch was granted whose answer never arrived is free when the consumer looks again."""
    async with opened(tmp_path / "queue.db") as pair:
        await pair.transport.limits().declare({ROOM: Numbers(1)})
        await pair.transport.publish([Envelope(id, QUEUE, b"", terms=Terms(slots=(SlotTerm("room"),))) for id in "ab"])
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        await asyncio.sleep(0)
        end = time.monotonic() + 10
        while rows_in(tmp_path / "queue.db", "holds") == 0:  # without a turn of the loop: the answer stays on its way
            assert time.monotonic() < end, "the file's thread lends it"
        fetching.cancel()
        await asyncio.wait({fetching})
        assert fetching.cancelled()
        [delivery] = await consumer.fetch(LIMITS, 10)
        assert delivery.id == "a"
        assert rows_in(tmp_path / "queue.db", "holds") == 1
