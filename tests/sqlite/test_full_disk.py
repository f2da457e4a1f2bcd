"""A disk that is full: nothing is lost, publishing is refused, and all goes on when there is room again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.sqlite.consumer import SQLiteConsumer
from asyncq.store import CallKey
from asyncq.transport import Again, Counts, Dead, Delivery, Done, Envelope, Outcome, Return
from tests.disks import filled, small_disk
from tests.sqlite.pairs import KEPT, LIMITS, MINUTE_MS, QUEUE, Pair, line_of, opened, program
from tests.waiting import wait_until

IDS = "abcdefgh"

QUOTA = """
import asyncio, os, sys
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit
from asyncq.errors import BrokerUnavailable
from asyncq.transport import Done, Envelope
from tests.sqlite.pairs import KEPT, LIMITS, QUEUE, opened

async def main(path):
    async with opened(path) as pair:
        await pair.publish("a")
        consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
        ends = [Done(delivery, KEPT) for delivery in await consumer.fetch(LIMITS, 1)]
        setrlimit(RLIMIT_FSIZE, (os.stat(f"{path}-wal").st_size, RLIM_INFINITY))
        print(*await pair.transport.publish([Envelope("b", QUEUE, b"")]), flush=True)
        try:
            await consumer.settle(ends)
        except BrokerUnavailable as error:
            print(error, flush=True)
        setrlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))
        print(*await consumer.settle(ends), *await pair.transport.publish([Envelope("b", QUEUE, b"")]), flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with two megabytes of room."""
    with small_disk(tmp_path / "disk", 2 << 20) as folder:
        yield folder


@pytest_asyncio.fixture
async def pair(disk: Path) -> AsyncIterator[Pair]:
    """A pair whose file lies there, with some messages."""
    async with opened(disk / "queue.db") as pair:
        await pair.publish(*IDS)
        yield pair
    connection = sqlite3.connect(disk / "queue.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def counts(pair: Pair) -> Counts:
    """Return the counts of the queue."""
    return (await pair.transport.counts([QUEUE]))[0]


async def without_room(disk: Path, verb: Callable[[], Awaitable[object]]) -> None:
    """Expect that the verb can't be done on a full disk."""
    with filled(disk), pytest.raises(BrokerUnavailable, match="no room left"):
        await verb()


async def holder(pair: Pair, *, lease: float = 60) -> tuple[SQLiteConsumer, list[Delivery]]:
    """Return a consumer that holds half of the messages."""
    consumer = await pair.transport.consumer(f"worker-{lease}", [QUEUE], lease=lease)
    return consumer, list(await consumer.fetch(LIMITS, 4))


async def test_publishing_is_refused(disk: Path, pair: Pair) -> None:
    """On a full disk each message is refused by its receipt, and later it is published as if it had never been."""
    envelopes = [Envelope(str(n), QUEUE, bytes(2_000)) for n in range(3)]
    with filled(disk):
        for envelope in envelopes:
            (receipt,) = await pair.transport.publish([envelope])
            assert isinstance(receipt, PublishRefused)
        receipts = await pair.transport.publish(envelopes)
        assert [type(receipt) for receipt in receipts] == [PublishRefused] * 3
        assert (await counts(pair)).ready == len(IDS)
    assert await pair.transport.publish(envelopes) == [None] * 3


async def test_settling_is_put_off(disk: Path, pair: Pair) -> None:
    """Settlements that found no room take effect when they are sent again, all of them and once."""
    consumer, (a, b, c, d) = await holder(pair)
    later_ms = pair.transport.now_ms() + MINUTE_MS
    settlements = [
        Done(a, Outcome(bytes(3_000), MINUTE_MS), [Envelope("next", QUEUE, b"")]),
        Again(b, bytes(3_000), later_ms),
        Return(c, is_crash=True),
        Dead(d, KEPT, "It failed.", MINUTE_MS),
    ]
    await without_room(disk, lambda: consumer.settle(settlements))
    assert await counts(pair) == Counts(ready=4, scheduled=0, running=4, dead=0)
    assert list(await consumer.settle(settlements)) == [True] * 4
    assert list(await consumer.settle(settlements)) == [False] * 4
    assert await counts(pair) == Counts(ready=6, scheduled=1, running=0, dead=1)


async def test_a_lease_is_renewed_when_there_is_room(disk: Path, pair: Pair) -> None:
    """A renewal that finds no room ends no membership; later it is renewed, also past its end."""
    consumer, held = await holder(pair, lease=0.05)
    lease = consumer.lease()
    await without_room(disk, lambda: asyncio.to_thread(lease.renew))
    assert await asyncio.to_thread(lease.renew)
    assert all(await consumer.settle([Done(delivery, KEPT) for delivery in held]))
    lease.close()


async def test_what_cannot_be_reclaimed_is_reclaimed_later(disk: Path, pair: Pair) -> None:
    """A reclaim that finds no room takes nothing away; with room it takes all, in its place."""
    dead, _ = await holder(pair, lease=0.05)
    reclaimer = await pair.transport.consumer("reclaimer", [QUEUE], lease=60)
    lease = reclaimer.lease()

    async def has_run_out() -> bool:
        end = await asyncio.to_thread(lease.next_end)
        return end is not None and end <= 0

    await wait_until(has_run_out, "the lease to run out")
    await without_room(disk, lambda: asyncio.to_thread(lease.reclaim))
    assert (await counts(pair)).running == 4
    assert await asyncio.to_thread(lease.reclaim) == {dead.name: 4}
    await without_room(disk, dead.absolve)
    await dead.absolve()
    deliveries = await reclaimer.fetch(LIMITS, 8)
    assert [(delivery.id, delivery.crashes) for delivery in deliveries] == [(id, 0) for id in IDS]
    lease.close()


async def test_nothing_is_fetched_in_vain(disk: Path, pair: Pair) -> None:
    """A fetch that finds no room lends nothing, and the next one has it all."""
    consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
    await without_room(disk, lambda: consumer.fetch(LIMITS, 8))
    assert await counts(pair) == Counts(ready=8, scheduled=0, running=0, dead=0)
    assert [delivery.id for delivery in await consumer.fetch(LIMITS, 8)] == list(IDS)


async def test_handing_back_can_be_repeated(disk: Path, pair: Pair) -> None:
    """Who finds no room to leave is a member still, and leaves with all it holds when it tries again."""
    consumer, _ = await holder(pair)
    await without_room(disk, consumer.leave)
    assert await consumer.leave() == 4
    assert await counts(pair) == Counts(ready=8, scheduled=0, running=0, dead=0)


async def test_a_withdrawal_is_whole_or_not_at_all(disk: Path, pair: Pair) -> None:
    """A running call that could not be ended for want of room goes on, and nobody is told of its end."""
    consumer, (a, b, *_) = await holder(pair)
    told: list[str] = []
    upkeep = asyncio.create_task(consumer.run(told.extend))
    await without_room(disk, lambda: pair.transport.withdraw("a", QUEUE, KEPT, even_running=True))
    assert list(await consumer.settle([Return(a)])) == [True]
    assert await pair.transport.withdraw("b", QUEUE, KEPT, even_running=True)
    await wait_until(lambda: bool(told), "the end of the other to be told")
    assert told == [b.token]
    upkeep.cancel()
    await asyncio.wait([upkeep])


async def test_what_is_there_can_be_read(disk: Path, pair: Pair) -> None:
    """On a full disk counts, letters and calls are told as ever; who opens the file then is told what it lacks."""
    await pair.finish(count=1)
    with filled(disk):
        (sighting,) = await pair.store.look([CallKey("a")])
        assert sighting is not None
        assert sighting.record == KEPT.record
        assert await pair.transport.dead_letters(QUEUE) == []
        with pytest.raises(BrokerUnavailable, match="no room left"):
            async with opened(disk / "queue.db"):
                pass
    async with opened(disk / "queue.db") as newcomer:
        await newcomer.finish(count=7)


async def test_a_quota_is_a_full_disk(tmp_path: Path) -> None:
    """Where the system lets the file grow no further, publishing is refused and settling put off in the same way."""
    async with program(QUOTA, tmp_path / "queue.db") as limited:
        assert "Has a quota run out?" in await line_of(limited)
        assert "Has a quota run out?" in await line_of(limited)
        assert await line_of(limited) == "True None"
