"""Limits are kept over several processes, while these are killed and waiting calls are cancelled; and they are used.

`ASYNCQ_AUDIT_SECONDS=60` makes the audits as long as that, for a machine that does nothing else.
"""

import asyncio
import os
import random
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE
from collections import defaultdict
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL
from typing import Any, NamedTuple, cast

import pytest
from redis.asyncio import Redis

from asyncq import Broker, ConcurrencyLimit, LimitExceeded, RateLimit, broker_from_url
from asyncq.broker.limiters import LEASE as CODE_LEASE
from asyncq.redis.keys import KeySpace
from tests.cli.programs import ROOT, Program, StartProgram, programs

SECONDS = float(os.environ.get("ASYNCQ_AUDIT_SECONDS", "8"))
KEYS, LIMIT, PER = 5, 20, 1.0
SLOTS, LEASE = 3, 1.0

pytestmark = pytest.mark.usefixtures("rabbitmq_server")

_LOG = "SELECT at_ms, weight FROM grants WHERE limit_key = ?"

LATE_MS = 500 if SECONDS < 60 else 200
"""How much later than its grant a task may write down its start. A short audit shares its machine with other tests."""

APP = f"""
import asyncio, os, time
from asyncq import ConcurrencyLimit, RateLimit, broker_from_url

broker = broker_from_url({{url!r}}, namespace={{namespace!r}}, **{{options!r}})
lines = os.open("journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def note(*words):
    os.write(lines, (" ".join(map(str, words)) + "\\n").encode())  # one write: whole, whoever else writes


@broker.task(name="charge", rate_limit=RateLimit({LIMIT}, per={PER}, key=lambda key: key))
async def charge(key: str) -> None:
    note("start", key, time.time_ns() // 1_000_000)


@broker.task(name="load", concurrency=ConcurrencyLimit({SLOTS}))
async def load(number: int) -> None:
    note("begin", number, os.getpid(), time.time_ns() // 1_000_000)
    await asyncio.sleep(0.05)  # the work itself
    note("end", number, os.getpid(), time.time_ns() // 1_000_000)
"""


HOLDER = """
import asyncio
from asyncq import broker_from_url

async def main():
    broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})
    async with broker, broker.concurrency_limit("exports", 1):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Place(NamedTuple):
    """Where limits are kept.

    Attributes:
        url: of the broker.
        memory: of what remembers grants: the broker's own, or its store's.
    """

    url: str
    memory: str

    @property
    def options(self) -> dict[str, str]:
        """What the broker is told beside its URL."""
        return {} if self.url == self.memory else {"store": self.memory}

    def broker(self, namespace: str) -> Broker:
        """Return a broker there."""
        return broker_from_url(self.url, namespace=namespace, **self.options)


@pytest.fixture(params=["redis", "sqlite", "rabbitmq with redis", "rabbitmq with sqlite"])
def place(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Place:
    """A broker of each kind that keeps limits over processes."""
    memory = redis_url if request.param.endswith("redis") else f"sqlite:///{tmp_path / 'asyncq.db'}"
    return Place(request.getfixturevalue("rabbitmq_url") if "rabbitmq" in request.param else memory, memory)


@pytest.fixture
def app(tmp_path: Path, place: Place, namespace: str) -> Path:
    """A folder with the application in it."""
    (tmp_path / "shop.py").write_text(APP.format(url=place.url, namespace=namespace, options=place.options))
    return tmp_path


def declared(place: Place, namespace: str) -> Broker:
    """Return the publisher's side of the application."""
    broker = place.broker(namespace)

    @broker.task(name="charge", rate_limit=RateLimit(LIMIT, per=PER, key=lambda key: key))
    async def charge(key: str) -> None: ...

    @broker.task(name="load", concurrency=ConcurrencyLimit(SLOTS))
    async def load(number: int) -> None: ...

    return broker


class GrantReader:
    """Reads the server's logs of grants while they are written: an entry is kept for as long as it counts."""

    def __init__(self, url: str, namespace: str) -> None:
        self._path = url.removeprefix("sqlite:///") if url.startswith("sqlite") else None
        self._redis = Redis.from_url(url if self._path is None else "redis://nowhere")
        self._prefix = KeySpace(namespace).own["limits"].removesuffix("limits") + "grants:rate charge "
        self._grants: dict[str, dict[int, int]] = {str(key): {} for key in range(KEYS)}

    async def read(self) -> None:
        """Read what has been granted by now."""
        for key, grants in self._grants.items():
            for at_ms, weight in await self._log(key):
                grants[at_ms] = max(weight, grants.get(at_ms, 0))  # grants of one ms are added to its entry

    async def _log(self, key: str) -> list[tuple[int, int]]:
        if self._path is not None:
            with closing(sqlite3.connect(self._path)) as file:
                return file.execute(_LOG, (f"rate charge {key}",)).fetchall()
        entries: Any = await cast("Any", self._redis).lrange(self._prefix + key, 0, -1)
        return [(int(at_ms), int(weight)) for at_ms, weight, _ in map(bytes.split, entries)]

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    def most(self) -> int:
        """Return the most that was granted in any window, of any key."""
        return max(
            sum(weight for at_ms, weight in grants.items() if start <= at_ms <= start + PER * 1000)
            for grants in self._grants.values()
            for start in grants
        )

    def count(self, key: str) -> int:
        """Return how much was granted to a key."""
        return sum(self._grants[key].values())


async def three_workers(start: StartProgram) -> list[Program]:
    """Start three worker processes."""
    workers = [await start("worker", "shop:broker", "--lease", f"{LEASE:g}", "--concurrency", "20") for _ in range(3)]
    for worker in workers:
        await worker.says("Ready.", timeout=20)
    return workers


@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("has_kills", [False, True])
async def test_rates(app: Path, place: Place, namespace: str, *, has_kills: bool) -> None:
    """No window has more starts than the limit, and while there is work, at least 95 % of it are used, of each key."""
    chance = random.Random(7)
    async with declared(place, namespace) as broker, programs(app) as start:
        workers = await three_workers(start)
        charge = broker.tasks["charge"]
        count = round(LIMIT * (SECONDS / PER + 4) / 0.9)
        handles = await broker.kiq_many(charge.message(str(n % KEYS)) for n in range(KEYS * count))
        begin = time.monotonic()
        killed: Program | None = None
        reader = GrantReader(place.memory, namespace)
        cancelled = chance.sample(handles, len(handles) // 10)
        while time.monotonic() - begin < SECONDS:
            for handle in cancelled[: len(handles) // 50]:
                await handle.cancel()
            del cancelled[: len(handles) // 50]
            if has_kills and not killed and time.monotonic() - begin > SECONDS / 3:
                killed = workers.pop()
                killed.signal(SIGKILL)
                workers.append(await start("worker", "shop:broker", "--lease", f"{LEASE:g}", "--concurrency", "20"))
            for _ in range(4):
                await asyncio.sleep(PER / 10)
                await reader.read()
        took_ms = (time.monotonic() - begin) * 1000
        await reader.close()
    assert reader.most() == LIMIT
    starts: dict[str, list[int]] = defaultdict(list)
    for line in (app / "journal").read_text().splitlines():
        _, key, at = line.split()
        starts[key].append(int(at))
    assert len(starts) == KEYS
    for key, times in starts.items():
        times.sort()
        spans = [later - earlier for earlier, later in zip(times, times[LIMIT:], strict=False)]
        assert min(spans) > PER * 1000 - LATE_MS, (key, min(spans))
        possible = LIMIT * (took_ms / (PER * 1000))
        assert reader.count(key) >= 0.95 * possible - LIMIT
        # A grant whose worker is killed before it starts is used up; one of the window that is open may not be.
        assert len(times) >= 0.95 * possible - LIMIT - (20 if has_kills else 0), (key, len(times), possible)


@pytest.mark.timeout(60 + 2 * SECONDS)
async def test_slots(app: Path, place: Place, namespace: str) -> None:
    """No more runs than slots overlap, those of living workers; a killed holder's slot is free within lease + 2 s."""
    async with declared(place, namespace) as broker, programs(app) as start:
        workers = await three_workers(start)
        load = broker.tasks["load"]
        handles = await broker.kiq_many(load.message(n) for n in range(round(SLOTS * SECONDS / 0.1)))
        await asyncio.sleep(SECONDS / 4)
        killed_at = time.time_ns() // 1_000_000
        dead = workers.pop()
        dead.signal(SIGKILL)
        for handle in handles:
            await handle.result(timeout=60)
    begun: dict[tuple[str, str], int] = {}
    changes: list[tuple[int, int]] = []
    for line in (app / "journal").read_text().splitlines():
        what, number, pid, at = line.split()
        if what == "begin":
            begun[number, pid] = int(at)
        else:
            changes += [(begun.pop((number, pid)), 1), (int(at), -1)]
    assert {pid for _, pid in begun} <= {str(dead.pid)}
    changes += [change for at in begun.values() for change in ((at, 1), (killed_at, -1))]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    assert most == SLOTS
    starts = sorted(at for at, change in changes if change == 1)
    assert max(later - earlier for earlier, later in pairwise(starts)) < (LEASE + 2) * 1000


@pytest.mark.timeout(90)
async def test_a_killed_holder_outside_of_tasks(app: Path, place: Place, namespace: str) -> None:
    """Code that is killed inside `broker.concurrency_limit` holds its slot for its lease, and no longer."""
    (app / "holder.py").write_text(HOLDER.format(url=place.url, namespace=namespace, options=place.options))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(sys.executable, "holder.py", cwd=app, env=environment, stdout=PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"held\n"
    async with place.broker(namespace) as broker:
        exports = broker.concurrency_limit("exports", 1)
        with pytest.raises(LimitExceeded):
            await exports.acquire(timeout=0).__aenter__()
        process.kill()
        await process.wait()
        begin = time.monotonic()
        async with exports.acquire(timeout=CODE_LEASE + 2):
            assert time.monotonic() - begin > CODE_LEASE / 2, "nobody has taken it from a living one"
