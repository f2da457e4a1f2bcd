"""Processes that fetch, settle, withdraw, reclaim, absolve and die at the same time."""

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from asyncq.store import CallKey, Sighting
from asyncq.transport import Outcome
from tests.sqlite.pairs import MINUTE_MS, QUEUE, Pair, line_of, opened, program
from tests.waiting import wait_until

RACER = """
import asyncio, sys, threading
from contextlib import closing
from pathlib import Path
from random import Random
from asyncq.errors import LeaseLost
from asyncq.transport import SUSPECT_CRASHES, Again, Done, Outcome, Return
from tests.sqlite.pairs import LIMITS, MINUTE_MS, QUEUE, opened

random = Random(sys.argv[2])

def settlement(transport, name, delivery):
    kind = random.random()
    if kind < 0.6:
        return Done(delivery, Outcome(name.encode(), MINUTE_MS))
    if kind < 0.8:
        return Again(delivery, delivery.body, transport.now_ms() + random.choice([0, 5, 20]))
    return Return(delivery, is_crash=kind > 0.95)

def beat(lease, over):
    with closing(lease):
        while not over.is_set() and lease.renew():
            lease.reclaim()
            over.wait(random.choice([0.01, 0.02, 0.3]))  # sometimes longer than the lease

async def keep(consumer):
    over = threading.Event()
    try:
        await asyncio.to_thread(beat, consumer.lease(), over)
    finally:
        over.set()

async def work(pair, name):
    consumer = await pair.transport.consumer(name, [QUEUE], lease=0.2)
    severed, held = set(), []
    upkeep = [asyncio.create_task(keep(consumer)), asyncio.create_task(consumer.run(severed.update))]
    try:
        while True:
            suspects = random.randrange(3)
            held = list(await consumer.fetch(LIMITS, random.randrange(1, 6), wait=False, suspects=suspects))
            assert sum(delivery.crashes >= SUSPECT_CRASHES for delivery in held) <= suspects
            await asyncio.sleep(random.choice([0.001, 0.01, 0.1]))  # the work itself
            ends = [settlement(pair.transport, name, delivery) for delivery in held]
            is_out = upkeep[0].done() and not upkeep[0].exception()
            effects = await consumer.settle(ends)
            assert not (is_out and any(effects))
            for end, has_effect in zip(ends, effects):
                if isinstance(end, Done) and has_effect:
                    print("ended", end.delivery.id, name, flush=True)
    except LeaseLost:
        await consumer.absolve()
    finally:
        for task in upkeep:
            task.cancel()
        await asyncio.wait(upkeep)

async def main():
    async with opened(Path(sys.argv[1])) as pair:
        print("ready", flush=True)
        for life in range(1_000):
            await work(pair, f"{sys.argv[2]}.{life}")

asyncio.run(main())
"""

LIVES = 3
"""Processes of each lane that are killed before all is over."""

IDS = [str(n) for n in range(400)]
_ENDED = re.compile(r"^ended (\d+) (\S+)$", re.MULTILINE)


class Race:
    """Processes that race for the calls in a file, each of which is killed after a while and followed by another.

    Attributes:
        ends: who has said that it ended which call.
        deaths: how many were killed.
    """

    def __init__(self, path: Path, random: Random) -> None:
        self.ends: list[tuple[str, str]] = []
        self.deaths = 0
        self.is_over = asyncio.Event()
        self._path = path
        self._random = random

    async def run(self, lane: int) -> None:
        """Race until it is over."""
        life = 0
        while not self.is_over.is_set():
            life += 1
            async with program(RACER, self._path, f"{lane}.{life}.{self._random.random()}") as racer:
                assert racer.stdout is not None
                await line_of(racer)
                reading = asyncio.create_task(racer.stdout.read())
                over = asyncio.create_task(self.is_over.wait())
                seconds = self._random.uniform(0.5, 1.5) if life <= LIVES else None
                try:
                    await asyncio.wait([reading, over], timeout=seconds, return_when="FIRST_COMPLETED")
                    assert not reading.done(), f"A racer has ended with {await racer.wait()}: {await reading}"
                finally:
                    over.cancel()
                    racer.kill()
                    await asyncio.wait([reading, over])
                self.deaths += 1
                self.ends += _ENDED.findall((await reading).decode())


async def publish(pair: Pair) -> None:
    """Publish all calls, a few at a time."""
    for start in range(0, len(IDS), 10):
        await pair.publish(*IDS[start : start + 10])
        await asyncio.sleep(0.02)  # so that all of it overlaps


async def withdraw(pair: Pair, random: Random, race: Race) -> set[str]:
    """Withdraw calls at random, whether they run or not, and return those that it has ended."""
    withdrawn: set[str] = set()
    while not race.is_over.is_set():
        id = random.choice(IDS)
        outcome = Outcome(b"withdrawn", MINUTE_MS)
        if await pair.transport.withdraw(id, QUEUE, outcome, even_running=random.random() < 0.8):
            assert id not in withdrawn
            withdrawn.add(id)
        await asyncio.sleep(0.03)  # so that all of it overlaps
    return withdrawn


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_call_ends_once(tmp_path: Path, seed: int) -> None:
    """Whoever fetches, dies, freezes, reclaims, absolves and withdraws meanwhile: each call ends once, as was said."""
    path, random = tmp_path / "queue.db", Random(seed)
    race = Race(path, random)
    async with opened(path) as pair, asyncio.TaskGroup() as group:
        publishing = group.create_task(publish(pair))
        withdrawing = group.create_task(withdraw(pair, random, race))
        for lane in range(3):
            group.create_task(race.run(lane))

        async def is_all_ended() -> bool:
            return publishing.done() and all(seen and seen.record is not None for seen in await all_seen(pair))

        await wait_until(is_all_ended, "all calls to end", timeout=50)
        race.is_over.set()
    assert race.deaths >= 3

    async with opened(path) as pair:
        records = {id: seen.record for id, seen in zip(IDS, await all_seen(pair), strict=True) if seen}
        ends = dict(race.ends)
        assert len(ends) == len(race.ends)
        assert ends.keys().isdisjoint(withdrawing.result())
        assert {id: name.encode() for id, name in ends.items()}.items() <= records.items()
        assert {id for id, record in records.items() if record == b"withdrawn"} == withdrawing.result()
        assert sum((await pair.transport.counts([QUEUE]))[0]) == 0
        await pair.transport.release([name for (name,) in rows(path, "SELECT name FROM consumers")])
    assert rows(path, "SELECT * FROM severed") == []
    assert rows(path, "SELECT id FROM calls WHERE crashes < 0") == []
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def all_seen(pair: Pair) -> Sequence[Sighting | None]:
    """Return what is known of all calls."""
    return await pair.store.look([CallKey(id) for id in IDS])


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return what the file itself says."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
