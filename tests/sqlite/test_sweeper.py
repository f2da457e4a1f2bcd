"""What is over leaves the file."""

import sqlite3
from pathlib import Path

from asyncq.clock import SystemClock
from asyncq.sqlite.sweeper import STEP, Sweeper
from asyncq.store import CallKey
from asyncq.transport import Outcome
from tests.sqlite.pairs import MINUTE_MS, opened
from tests.waiting import wait_until


def rows_in(path: Path, table: str) -> int:
    """Count the rows of a table."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


async def test_a_scheduler_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    """A sweep removes who watched schedules and is gone."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        await pair.database.write(
            lambda transaction: transaction.change("INSERT INTO schedulers(address, space) VALUES ('nobody:1', 1)")
        )
        assert rows_in(path, "schedulers") == 1
        await Sweeper(pair.database, SystemClock()).sweep()
        await wait_until(lambda: rows_in(path, "schedulers") == 0, "it is forgotten")


async def test_expired_results_are_removed_by_one_process(tmp_path: Path) -> None:
    """A sweep removes all results whose time is over; a second process in the same half minute leaves it at that."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair, opened(path) as other:
        await pair.publish(*(str(n) for n in range(STEP + 10)), "kept", "later")
        await pair.finish(count=STEP + 10, outcome=Outcome(b"{}", 1))
        await pair.finish(count=1, outcome=Outcome(b"{}", MINUTE_MS))

        async def is_over() -> bool:
            return await pair.store.look([CallKey(str(STEP))]) == [None]

        await wait_until(is_over, "the results' time to be over")
        assert rows_in(path, "calls") == STEP + 12
        await Sweeper(pair.database, SystemClock()).sweep()
        assert rows_in(path, "calls") == 2
        await pair.finish(count=1, outcome=Outcome(b"{}", 1))
        await Sweeper(other.database, SystemClock()).sweep()
        assert rows_in(path, "calls") == 2
