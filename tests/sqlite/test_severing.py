"""Who runs a call that was withdrawn is told, whatever happens to the ring."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncq.transport import Consumer, Done, Envelope, Outcome
from tests.sqlite.pairs import KEPT, LIMITS, QUEUE, Pair, line_of, opened, program
from tests.waiting import wait_until

WITHDRAWER = """
import asyncio, os, signal, sys
from pathlib import Path
from asyncq.sqlite.rings import Ringer
from tests.sqlite.pairs import KEPT, QUEUE, opened

async def main(path, id, dies):
    async with opened(path) as pair:
        if dies:
            Ringer.ring = lambda self, rings: os.kill(os.getpid(), signal.SIGKILL)
        print(await pair.transport.withdraw(id, QUEUE, KEPT, even_running=True), flush=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3))
"""

LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(60)  # until it is killed
"""


def untold(path: Path) -> int:
    """Count the deliveries in the file of which somebody has to be told."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM severed").fetchone()[0]
    finally:
        connection.close()


@asynccontextmanager
async def told(consumer: Consumer) -> AsyncIterator[list[str]]:
    """Keep a consumer up meanwhile, and collect the tokens that it is told."""
    tokens: list[str] = []
    upkeep = asyncio.create_task(consumer.run(tokens.extend))
    try:
        yield tokens
    finally:
        upkeep.cancel()
        await asyncio.wait([upkeep])


async def running(pair: Pair, *ids: str) -> tuple[Consumer, list[str]]:
    """Return a consumer that runs these calls, and the tokens of its deliveries."""
    await pair.publish(*ids)
    consumer = await pair.transport.consumer("worker", [QUEUE], lease=60)
    deliveries = await consumer.fetch(LIMITS, len(ids))
    assert [delivery.id for delivery in deliveries] == list(ids)
    return consumer, [delivery.token for delivery in deliveries]


async def test_another_process_tells_at_once(tmp_path: Path) -> None:
    """What another process withdraws is told in milliseconds, and then nothing of it lies in the file."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        consumer, (a, _) = await running(pair, "a", "b")
        async with told(consumer) as tokens, program(WITHDRAWER, path, "a") as withdrawer:
            assert await line_of(withdrawer) == "True"
            started = time.monotonic()
            await wait_until(lambda: bool(tokens), "the consumer to be told")
            assert time.monotonic() - started < 0.5
            await wait_until(lambda: untold(path) == 0, "it to be forgotten")
        assert tokens == [a]


async def test_a_lost_ring_is_made_up_for(tmp_path: Path) -> None:
    """Who withdraws and is killed before it rings has withdrawn; the next renewal of the lease tells."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        consumer, (a,) = await running(pair, "a")
        lease = consumer.lease()
        async with told(consumer) as tokens, program(WITHDRAWER, path, "a", "dies") as withdrawer:
            assert await line_of(withdrawer) == ""
            assert await withdrawer.wait() == -signal.SIGKILL
            assert untold(path) == 1
            assert tokens == []
            assert await asyncio.to_thread(lease.renew)
            await wait_until(lambda: tokens == [a], "the consumer to be told")
            await wait_until(lambda: untold(path) == 0, "it to be forgotten")
        lease.close()


async def test_a_bell_that_was_removed_does_not_matter(tmp_path: Path) -> None:
    """Who has lost the socket beside the file is told at the next renewal all the same."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair, opened(path) as other:
        consumer, (a,) = await running(pair, "a")
        lease = consumer.lease()
        for bell in tmp_path.iterdir():
            if bell.is_socket():
                bell.unlink()
        async with told(consumer) as tokens:
            assert await other.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            assert await asyncio.to_thread(lease.renew)
            await wait_until(lambda: tokens == [a], "the consumer to be told")
        lease.close()


async def test_what_was_told_is_told_again_rather_than_not_at_all(tmp_path: Path) -> None:
    """When the file is locked after the telling, it is told once more; a file that can't be read delays the telling."""
    path = tmp_path / "queue.db"
    async with opened(path) as other, opened(path, command_timeout=1) as pair:
        consumer, (a,) = await running(pair, "a")
        lease = consumer.lease()
        async with told(consumer) as tokens:
            assert await other.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            async with program(LOCKER, path) as locker:
                assert await line_of(locker) == "locked"
                await wait_until(lambda: bool(tokens), "the consumer to be told")
            assert await asyncio.to_thread(lease.renew)
            await wait_until(lambda: untold(path) == 0, "it to be forgotten")
        assert set(tokens) == {a}
        lease.close()


async def test_the_call_that_was_published_since_is_not_named(tmp_path: Path) -> None:
    """A consumer that holds a new call of the id, by the time it could be told, is told of the old one alone."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        consumer, old = await running(pair, "a", "b")
        for id in "ab":
            assert await pair.transport.withdraw(id, QUEUE, Outcome(None), even_running=True)
        await pair.publish("a")
        (delivery,) = await consumer.fetch(LIMITS, 1)
        async with told(consumer) as tokens:  # it has been rung, and looks now
            await wait_until(lambda: untold(path) == 0, "all to be told")
        assert sorted(tokens) == sorted(old)
        assert list(await consumer.settle([Done(delivery, KEPT)])) == [True]


@pytest.mark.parametrize("ending", ["leave", "release"])
async def test_nothing_is_kept_for_who_is_gone(tmp_path: Path, ending: str) -> None:
    """What a consumer was never told of leaves the file with its membership."""
    path = tmp_path / "queue.db"
    async with opened(path) as pair:
        consumer, _ = await running(pair, "a")
        assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
        assert untold(path) == 1
        assert (await consumer.leave() if ending == "leave" else await pair.transport.release([consumer.name])) == 0
        assert untold(path) == 0


async def test_many_are_told_of_many(tmp_path: Path) -> None:
    """A thousand calls that are withdrawn under two consumers of one process are told, each to the one that ran it."""
    async with opened(tmp_path / "queue.db") as pair:
        envelopes = [Envelope(str(n), QUEUE, b"") for n in range(1_000)]
        await pair.transport.publish(envelopes)
        consumers = [await pair.transport.consumer(f"worker-{n}", [QUEUE], lease=60) for n in range(2)]
        held = [{delivery.token for delivery in await consumer.fetch(LIMITS, 500)} for consumer in consumers]
        async with told(consumers[0]) as first, told(consumers[1]) as second:
            ends = await asyncio.gather(
                *(pair.transport.withdraw(envelope.id, QUEUE, KEPT, even_running=True) for envelope in envelopes)
            )
            assert all(ends)
            each: Sequence[list[str]] = (first, second)
            await wait_until(lambda: [set(tokens) for tokens in each] == held, "all to be told")
