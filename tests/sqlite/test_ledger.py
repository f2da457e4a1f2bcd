"""What a ledger leaves in the file, and with whom it does not share a namespace."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncq.clock import Clock, SystemClock
from asyncq.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from asyncq.ledger import TOMBSTONE_MS, WITHDRAWN_MS, Copy, Held, Lent
from asyncq.sqlite import SQLiteDatabase, SQLiteLedger
from asyncq.sqlite.sweeper import Sweeper
from asyncq.testing import MovableClock
from asyncq.transport import Delivery, Done, Envelope, Outcome
from tests.disks import filled, small_disk
from tests.sqlite.pairs import QUEUE, line_of, make_pair, opened, program

KEPT_BRIEFLY = Outcome(b"{}", 1_000)
KEPT_LONG = Outcome(b"{}", 2 * TOMBSTONE_MS)

LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(60)  # until it is killed
"""

VICTIM = """
import asyncio, os, signal, sys
from pathlib import Path
from asyncq.ledger import Copy
from tests.sqlite.test_ledger import QUEUE, opened_ledger

async def main(path):
    async with opened_ledger(path) as ledger:
        holder = await ledger.holder("victim", [QUEUE], lease=60)
        await holder.take([Copy("a", QUEUE, b"a", 0, 0)])
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(Path(sys.argv[1])))
"""


@asynccontextmanager
async def opened_ledger(
    path: Path, *, clock: Clock | None = None, command_timeout: float = 5
) -> AsyncIterator[SQLiteLedger]:
    """Open a ledger as a broker does, and close it."""
    database = SQLiteDatabase(path, command_timeout=command_timeout, synchronous="NORMAL")
    ledger = SQLiteLedger(database, namespace="test", clock=clock)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def rows_in(path: Path) -> dict[str, int]:
    """Count the rows of every table that has some."""
    connection = sqlite3.connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
        return {name: count for name, count in counts.items() if count}
    finally:
        connection.close()


async def sweep(path: Path, clock: Clock) -> None:
    """Sweep the file, as if it were time to."""
    database = SQLiteDatabase(path)
    await database.open(clock)
    await Sweeper(database, clock).sweep()
    await database.close(clock)


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Ends leave a result or a tombstone for its time, claims theirs, and then nothing of a call is in the file."""
    path, clock = tmp_path / "ledger.db", MovableClock()
    async with opened_ledger(path, clock=clock) as ledger:
        outcomes = {"long": KEPT_LONG, "brief": KEPT_BRIEFLY, "none": Outcome(None), "withdrawn": KEPT_BRIEFLY}
        await ledger.claim([Envelope("claimed", QUEUE, b""), Envelope("long", QUEUE, b"long")], ttl_ms=1_000)
        await ledger.note([Envelope(id, QUEUE, id.encode()) for id in outcomes])
        holder = await ledger.holder("worker", [QUEUE], lease=60)
        copies = [Copy(id, QUEUE, id.encode(), 0, 0) for id in outcomes]
        deliveries = [
            Delivery(copy.id, QUEUE, copy.body, 0, *verdict)
            for copy, verdict in zip(copies, await holder.take(copies), strict=True)
            if isinstance(verdict, Lent)
        ]
        await ledger.withdraw("withdrawn", QUEUE, KEPT_BRIEFLY, even_running=True)
        assert all(await holder.settle([Done(delivery, outcomes[delivery.id]) for delivery in deliveries[:3]]))
        await holder.leave()
        own = {"spaces": 1, "queues": 1}
        assert rows_in(path) == own | {"calls": 3, "tombstones": 3, "claims": 1}
        clock.move(2)
        await sweep(path, clock)
        assert rows_in(path) == own | {"calls": 1, "tombstones": 3, "duties": 1}
        clock.move(TOMBSTONE_MS / 1000)
        await sweep(path, clock)
        assert rows_in(path) == own | {"calls": 1, "tombstones": 1, "duties": 1}
        clock.move(TOMBSTONE_MS / 1000)
        await sweep(path, clock)
        assert rows_in(path) == own | {"tombstones": 1, "duties": 1}
        clock.move(WITHDRAWN_MS / 1000)
        await sweep(path, clock)
        assert rows_in(path) == own | {"duties": 1}


async def test_a_take_that_found_the_file_locked_holds_nothing(tmp_path: Path) -> None:
    """A take that was given up does not keep its copies from the holder that asks again."""
    path = tmp_path / "ledger.db"
    copies = [Copy("a", QUEUE, b"a", 0, 0)]
    async with opened_ledger(path, command_timeout=1) as ledger:
        holder = await ledger.holder("worker", [QUEUE], lease=60)
        async with program(LOCKER, path) as locker:
            assert await line_of(locker) == "locked"
            with pytest.raises(BrokerUnavailable):
                await holder.take(copies)
        (lent,) = await holder.take(copies)
        assert isinstance(lent, Lent)
        assert lent.crashes == 0
        assert [type(verdict) for verdict in await holder.take(copies)] == [Held]


async def test_a_full_disk_takes_no_claims(tmp_path: Path) -> None:
    """Without room claims are refused, a note can't be stored, and both are when there is room again."""
    with small_disk(tmp_path / "disk", 2 << 20) as disk:
        async with opened_ledger(disk / "ledger.db") as ledger:
            with filled(disk):
                receipts = await ledger.claim([Envelope("a", QUEUE, b"a"), Envelope("b", QUEUE, b"b")], ttl_ms=1_000)
                assert [type(receipt) for receipt in receipts] == [PublishRefused] * 2
                with pytest.raises(BrokerUnavailable, match="no room left"):
                    await ledger.note([Envelope("c", QUEUE, b"c")])
            assert list(await ledger.claim([Envelope("a", QUEUE, b"other")], ttl_ms=1_000)) == [0]
            await ledger.note([Envelope("c", QUEUE, b"c")])


async def test_what_a_killed_holder_had_is_found_by_another_process(tmp_path: Path) -> None:
    """After kill -9 of who runs a call it is held until that is released, and an orphan from then on."""
    path = tmp_path / "ledger.db"
    copy = Copy("a", QUEUE, b"a", 0, 0)
    async with opened_ledger(path) as ledger:
        async with program(VICTIM, path) as victim:
            await victim.wait()
        holder = await ledger.holder("worker", [QUEUE], lease=60)
        assert [type(verdict) for verdict in await holder.take([copy])] == [Held]
        assert await ledger.release(["victim"]) == 1
        assert list(await ledger.orphans(10)) == [copy]
        (lent,) = await holder.take([copy])
        assert isinstance(lent, Lent)
        assert lent.crashes == 1


async def test_a_ledgers_namespace_is_no_brokers(tmp_path: Path) -> None:
    """A transport refuses to open a namespace that is a ledger's, and that one is as it was."""
    path = tmp_path / "queue.db"
    async with opened_ledger(path):
        transport = make_pair(path).transport
        with pytest.raises(ConfigurationError, match="'test' of this file belongs to a ledger"):
            await transport.open()
        with pytest.raises(BrokerUnavailable, match="closed"):
            await transport.known_queues()
    async with opened_ledger(path) as again:
        assert await again.known_queues() == []


async def test_a_brokers_namespace_is_no_ledgers(tmp_path: Path) -> None:
    """A ledger refuses to open a namespace that a broker has used, and takes another one in the same file."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        await pair.publish("a")
        with pytest.raises(ConfigurationError, match="'test' of this file belongs to a SQLite broker"):
            async with opened_ledger(path):
                pass
        other = SQLiteLedger(SQLiteDatabase(path), namespace="other", clock=SystemClock())
        await other.open()
        await other.close()
        await pair.finish(count=1)
