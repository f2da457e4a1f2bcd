"""What happens to the file, and to processes around it."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from asyncq.errors import BrokerUnavailable, LeaseLost, PublishRefused
from asyncq.sqlite.schema import HUNGER_FOR_ALL
from asyncq.store import CallKey, Listener, Notice
from asyncq.transport import Envelope, Outcome
from tests.sqlite.pairs import LIMITS, MINUTE_MS, QUEUE, line_of, make_pair, opened, program
from tests.waiting import wait_until

PUBLISHER = """
import asyncio, sys
from itertools import count
from pathlib import Path
from tests.sqlite.pairs import opened

async def main():
    async with opened(Path(sys.argv[1])) as pair:
        for n in count():
            await pair.publish(*(f"{n}-{k}" for k in range(10)))
            print(n, flush=True)

asyncio.run(main())
"""

FORKER = """
import asyncio, os, sys
from pathlib import Path
from asyncq.errors import BrokerUnavailable
from tests.sqlite.pairs import opened

async def close(pair):
    await pair.transport.close()
    await pair.store.close()

async def main(path):
    async with opened(path) as pair:
        await pair.transport.consumer("worker", ["mail"], lease=60)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(pair.publish("child"))
            except BrokerUnavailable as error:
                print(error, flush=True)
            finally:
                asyncio.run(close(pair))
                os._exit(0)
        os.waitpid(child, 0)
        await pair.publish("parent")
        await pair.finish(count=1)

asyncio.run(main(Path(sys.argv[1])))
"""

LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(60)  # until it is killed
"""

LISTENER = """
import asyncio, sys
from pathlib import Path
from asyncq.store import Listener
from tests.sqlite.pairs import opened

async def main():
    async with opened(Path(sys.argv[1])) as pair:
        print(await pair.store.listen(Listener(lambda notices: None, lambda: None)), flush=True)
        await asyncio.sleep(60)  # until it is killed

asyncio.run(main())
"""

ECHO = """
import asyncio, sys
from pathlib import Path
from asyncq.transport import Done, Outcome
from tests.sqlite.pairs import LIMITS, QUEUE, opened

async def main():
    async with opened(Path(sys.argv[1])) as pair:
        consumer = await pair.transport.consumer("echo", [QUEUE], lease=60)
        print("ready", flush=True)
        while True:
            deliveries = await consumer.fetch(LIMITS, 100)
            await consumer.settle([Done(d, Outcome(d.body, 60_000, sys.argv[2])) for d in deliveries])

asyncio.run(main())
"""


async def test_a_killed_publisher_leaves_whole_batches(tmp_path: Path) -> None:
    """After kill -9 in the midst of commits every confirmed batch is there, none in part, and the file is sound."""
    path = tmp_path / "queue.db"
    for _ in range(3):
        async with program(PUBLISHER, path) as publisher:
            confirmed = [int(await line_of(publisher)) for _ in range(20)]
            publisher.kill()
        with sqlite3.connect(path) as connection:
            ids = {id for (id,) in connection.execute("SELECT id FROM calls")}
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        batches = {int(id.partition("-")[0]) for id in ids}
        assert ids == {f"{n}-{k}" for n in batches for k in range(10)}
        assert batches >= set(confirmed)
        path.unlink()
        for left in tmp_path.iterdir():
            left.unlink()


async def test_a_frozen_writer_is_waited_for_no_longer_than_the_timeout(tmp_path: Path) -> None:
    """While a process is frozen inside a transaction, publishing raises in time and looking works; then all goes on."""
    async with opened(tmp_path / "queue.db", command_timeout=0.5) as pair:
        await pair.publish("before")
        async with program(LOCKER, pair.database.path) as locker:
            assert await line_of(locker) == "locked"
            locker.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            publishing = asyncio.create_task(pair.publish("meanwhile"))
            (seen,) = await pair.store.look([CallKey("before")])
            assert seen is not None
            assert not publishing.done()
            with pytest.raises(BrokerUnavailable, match="frozen inside a transaction"):
                await publishing
            assert 0.4 < time.monotonic() - started < 4
        await pair.publish("meanwhile")


async def test_a_lease_meets_a_frozen_writer_in_time(tmp_path: Path) -> None:
    """Renewing a lease while a process is frozen inside a transaction raises within the timeout."""
    async with opened(tmp_path / "queue.db", command_timeout=1) as pair:
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        lease = consumer.lease()
        async with program(LOCKER, pair.database.path) as locker:
            assert await line_of(locker) == "locked"
            locker.send_signal(signal.SIGSTOP)
            with pytest.raises(BrokerUnavailable):
                await asyncio.to_thread(lease.renew)
        assert await asyncio.to_thread(lease.renew)
        lease.close()


async def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    """When the file is deleted callers are told; then a new file is made, and consumers have to join anew."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        resynced = asyncio.Event()
        await pair.store.listen(Listener(lambda notices: None, resynced.set))
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            file.unlink()
        told: list[str] = []

        async def is_told() -> bool:
            try:
                await pair.transport.counts([QUEUE])
            except BrokerUnavailable as error:
                told.append(str(error))
            return bool(told)

        await wait_until(is_told, "the loss to be told")
        assert "was deleted or replaced" in told[0]
        await pair.publish("new")
        await resynced.wait()
        assert path.exists()
        with pytest.raises(LeaseLost):
            await consumer.fetch(LIMITS, 1)
        await pair.finish(count=1)


async def test_a_full_disk_refuses_new_messages_only(tmp_path: Path) -> None:
    """Without room publishing is refused, each message by its receipt; what is there can be fetched and ended."""
    async with opened(tmp_path / "queue.db") as pair:
        await pair.publish("a", "b")
        await pair.database.write(lambda transaction: transaction.rows("PRAGMA max_page_count = 1"))
        large = [Envelope(str(n), QUEUE, bytes(100_000)) for n in range(3)]
        receipts = await pair.transport.publish(large)
        assert [type(receipt) for receipt in receipts] == [PublishRefused] * 3
        assert "no room left" in str(receipts[0])
        await pair.finish(count=2)
        (counts,) = await pair.transport.counts([QUEUE])
        assert sum(counts) == 0


async def test_a_dead_process_is_forgotten(tmp_path: Path) -> None:
    """The first ring to a killed listener removes its socket and its row, and disturbs nobody."""
    async with opened(tmp_path / "queue.db") as pair:
        async with program(LISTENER, pair.database.path) as listener:
            address = await line_of(listener)
            listener.kill()
        await pair.publish("a")
        await pair.finish(count=1, outcome=Outcome(b"{}", MINUTE_MS, address))
        await pair.publish("b")

    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]
    with sqlite3.connect(tmp_path / "queue.db") as connection:
        assert connection.execute("SELECT * FROM listeners").fetchall() == []
    connection.close()


async def test_who_takes_over_from_a_dead_process_forgets_it(tmp_path: Path) -> None:
    """A takeover tells all listeners to look, and removes the socket and the row of those that were killed."""
    async with opened(tmp_path / "queue.db") as pair:
        async with program(LISTENER, pair.database.path) as listener:
            await line_of(listener)
            listener.kill()
        await pair.transport.consumer("dead", [QUEUE], lease=0.001)
        lease = (await pair.transport.consumer("heir", [QUEUE], lease=60)).lease()
        await wait_until(lambda: (lease.next_end() or 0) < 0, "the lease has run out")
        assert lease.reclaim() == {"dead": 0}
        lease.close()
        with sqlite3.connect(tmp_path / "queue.db") as connection:
            assert connection.execute("SELECT * FROM listeners").fetchall() == []
        connection.close()


async def test_a_takeover_that_waits_for_a_locked_file_spares_the_living(tmp_path: Path) -> None:
    """Whose lease runs out while a takeover waits for the file, and cannot be renewed, is not taken for dead."""
    async with opened(tmp_path / "queue.db") as pair:
        heir = (await pair.transport.consumer("heir", [QUEUE], lease=60)).lease()
        await pair.transport.consumer("dead", [QUEUE], lease=0.001)
        living = (await pair.transport.consumer("living", [QUEUE], lease=2)).lease()
        with closing(heir), closing(living):
            assert heir.renew()  # the file is open
            with closing(sqlite3.connect(pair.database.path, isolation_level=None)) as other:
                assert living.renew()
                over_at = time.monotonic() + 2
                other.execute("BEGIN IMMEDIATE")
                takeover = asyncio.create_task(asyncio.to_thread(heir.reclaim))
                await wait_until(lambda: time.monotonic() > over_at, "the lease of the living has run out")
                other.execute("ROLLBACK")
            assert await takeover == {"dead": 0}
            assert living.renew()


async def test_two_processes_wake_each_other(tmp_path: Path) -> None:
    """A message wakes the consumer in another process, and its end wakes the publisher, in a few milliseconds."""
    async with opened(tmp_path / "queue.db") as pair:
        ended: asyncio.Queue[Notice] = asyncio.Queue()

        def take(notices: Sequence[Notice]) -> None:
            for notice in notices:
                ended.put_nowait(notice)

        address = await pair.store.listen(Listener(take, _fail))
        async with program(ECHO, pair.database.path, address) as echo:
            assert await line_of(echo) == "ready"
            took: list[float] = []
            for n in range(100):
                started = time.perf_counter()
                await pair.publish(str(n))
                notice = await ended.get()
                took.append(time.perf_counter() - started)
                assert (notice.id, notice.record, notice.is_over) == (str(n), str(n).encode(), True)
        assert sorted(took)[50] < 0.1  # about 0.5 ms on an idle machine


async def test_a_consumer_whose_bell_was_removed_is_woken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiting consumer that lost its socket looks unasked, puts it up again, and is woken by the next message."""
    monkeypatch.setattr("asyncq.sqlite.consumer.MAX_NAP", 0.2)
    path = tmp_path / "queue.db"
    async with opened(path) as pair, opened(path) as other:
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        for bell in tmp_path.iterdir():
            if bell.is_socket():
                bell.unlink()
        await other.publish("a")  # finds nobody to ring, and notes it
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 1)] == ["a"]
        fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
        await wait_until(lambda: pair.database.doorbell.mends == 1, "the bell to be put up again")
        monkeypatch.setattr("asyncq.sqlite.consumer.MAX_NAP", 60)

        async def is_hungry() -> bool:
            hunger = await other.database.read(lambda file: file.rows("SELECT hunger FROM consumers"))
            return hunger == [(HUNGER_FOR_ALL,)]

        await wait_until(is_hungry, "the consumer to want rings again")
        await other.publish("b")
        assert [delivery.id for delivery in await fetching] == ["b"]


async def test_the_log_stays_short_under_load(tmp_path: Path) -> None:
    """While several writers write without a pause, the write-ahead log does not grow without end."""
    path = tmp_path / "queue.db"
    async with program(PUBLISHER, path) as other, opened(path) as pair:
        await line_of(other)
        body, largest = bytes(10_000), 0
        for n in range(1_000):
            await pair.transport.publish([Envelope(f"own-{n}-{k}", QUEUE, body) for k in range(10)])
            largest = max(largest, os.stat(f"{path}-wal").st_size)
        other.kill()
    assert largest < 48 << 20  # of more than 100 MB that were written; 16 MB is common


async def test_competing_writers_never_fail(tmp_path: Path) -> None:
    """Transactions that read before they write, in two processes at once, all succeed: none begins without the lock."""
    path = tmp_path / "queue.db"
    async with opened(path) as one, opened(path) as other:

        async def work(name: str, pair: object) -> None:
            for n in range(100):
                assert pair is one or pair is other
                publishing, looking = (one, other) if pair is one else (other, one)
                await publishing.publish(f"{name}-{n}")
                await looking.store.look([CallKey(f"{name}-{n}")], watcher="poll:1")

        await asyncio.gather(*(work(f"{n}", (one, other)[n % 2]) for n in range(8)))
        (counts,) = await one.transport.counts([QUEUE])
        assert counts.ready == 800


async def test_nothing_stays_behind(tmp_path: Path) -> None:
    """When the last process has closed, the file is all that is left; opening and closing twice is harmless."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        await pair.store.open()
        await pair.transport.open()
        await pair.store.listen(Listener(lambda notices: None, _fail))
        await pair.publish("a")
        await pair.finish(count=1)
    await pair.store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]
    with pytest.raises(BrokerUnavailable, match="closed"):
        await pair.publish("b")


async def test_a_pair_can_be_opened_again(tmp_path: Path) -> None:
    """A database that was closed can be opened again on the same loop, and has everything."""
    pair = make_pair(tmp_path / "queue.db")
    for id in "ab":
        await pair.store.open()
        await pair.transport.open()
        await pair.publish(id)
        await pair.transport.close()
        await pair.store.close()
    async with opened(tmp_path / "queue.db") as again:
        await again.finish(count=2)


async def test_a_fork_has_to_make_its_own(tmp_path: Path) -> None:
    """In a forked child the parent's database refuses to work, and what the parent has is untouched."""
    async with program(FORKER, tmp_path / "queue.db") as parent:
        assert "made before a fork" in await line_of(parent)
        await parent.wait()
        assert parent.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]


async def test_a_loop_that_is_closed_without_a_goodbye_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a program forgets to close, thread and socket end some time after the event loop has ended."""
    monkeypatch.setattr("asyncq.sqlite.engine.LOOK_AT_LOOP_EVERY", 0.05)

    async def forget() -> None:
        pair = make_pair(tmp_path / "queue.db")
        await pair.transport.open()
        await pair.transport.consumer("worker", [QUEUE], lease=60)

    await asyncio.to_thread(asyncio.run, forget())
    await wait_until(lambda: [path.name for path in tmp_path.iterdir()] == ["queue.db"], "everything else to be gone")


def _fail() -> None:
    raise AssertionError("Nothing was missed, so there is nothing to look for.")
