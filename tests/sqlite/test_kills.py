"""Processes that are killed inside a transaction."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from asyncq.transport import Counts
from tests.sqlite.pairs import LIMITS, QUEUE, line_of, opened, program

KILLED = """
import asyncio, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from asyncq.sqlite.connection import Connection
from asyncq.transport import Again, Dead, Done, Envelope, Return
from tests.sqlite.pairs import KEPT, LIMITS, MINUTE_MS, QUEUE, opened

def arm(last):
    step = Connection._step
    steps = count(1)

    def counted(*arguments, **options):
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)

    Connection._step = counted

async def main(path, verb, last):
    async with opened(path) as pair:
        await pair.publish(*"abcdefgh")
        worker = await pair.transport.consumer("worker", [QUEUE], lease=0.001)
        held = await worker.fetch(LIMITS, 4)
        lease = (await pair.transport.consumer("other", [QUEUE], lease=60)).lease()
        if verb == "absolve":
            assert await asyncio.to_thread(lease.reclaim) == {"worker": 4}
        arm(last)
        match verb:
            case "publish":
                await pair.publish("i", "j", "k")
            case "fetch":
                await worker.fetch(LIMITS, 4)
            case "settle":
                a, b, c, d = held
                later_ms = pair.transport.now_ms() + MINUTE_MS
                await worker.settle([
                    Done(a, KEPT, [Envelope("next", QUEUE, b"")]),
                    Again(b, b"retry", later_ms),
                    Return(c, is_crash=True),
                    Dead(d, KEPT, "It failed.", MINUTE_MS),
                ])
            case "withdraw":
                assert await pair.transport.withdraw("a", QUEUE, KEPT, even_running=True)
            case "reclaim":
                await asyncio.to_thread(lease.reclaim)
            case "absolve":
                await worker.absolve()
            case "leave":
                await worker.leave()
        os._exit(0)

folder, verb = Path(sys.argv[1]), sys.argv[2]
for last in count(1):
    child = os.fork()
    if child == 0:
        asyncio.run(main(folder / f"{last:02}.db", verb, last))
    _, status = os.waitpid(child, 0)
    if status != signal.SIGKILL:
        print(status, flush=True)
        break
"""


class State(NamedTuple):
    """What a file holds.

    Attributes:
        counts: of the queue.
        crashes: of all calls together.
        ended: calls with a result.
        untold: deliveries of which somebody has to be told.
    """

    counts: Counts
    crashes: int
    ended: int
    untold: int


BEFORE = State(Counts(ready=4, scheduled=0, running=4, dead=0), crashes=0, ended=0, untold=0)
RECLAIMED = State(Counts(ready=8, scheduled=0, running=0, dead=0), crashes=4, ended=0, untold=0)


async def state_of(path: Path) -> State:
    """Return what the file holds, which has to be sound."""
    async with opened(path) as pair:
        (counts,) = await pair.transport.counts([QUEUE])
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ((crashes, ended),) = connection.execute("SELECT sum(crashes), sum(state = 3) FROM calls")
    ((untold,),) = connection.execute("SELECT count(*) FROM severed")
    connection.close()
    return State(counts, crashes, ended, untold)


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("publish", BEFORE, BEFORE._replace(counts=Counts(ready=7, scheduled=0, running=4, dead=0))),
        ("fetch", BEFORE, BEFORE._replace(counts=Counts(ready=0, scheduled=0, running=8, dead=0))),
        ("settle", BEFORE, State(Counts(ready=6, scheduled=1, running=0, dead=1), crashes=1, ended=2, untold=0)),
        ("withdraw", BEFORE, State(Counts(ready=4, scheduled=0, running=3, dead=0), crashes=0, ended=1, untold=1)),
        ("reclaim", BEFORE, RECLAIMED),
        ("absolve", RECLAIMED, RECLAIMED._replace(crashes=0)),
        ("leave", BEFORE, RECLAIMED._replace(crashes=0)),
    ],
)
async def test_a_verb_is_done_whole_or_not_at_all(tmp_path: Path, verb: str, before: State, after: State) -> None:
    """Killed before any of its statements, a verb has done nothing, or all of it when it was the last; all goes on."""
    async with program(KILLED, tmp_path, verb) as killed:
        assert await line_of(killed) == "0"
    files = sorted(tmp_path.glob("*.db"))
    states = [await state_of(path) for path in files]
    assert len(states) > 3
    assert states[0] == before
    assert states[-1] == after
    assert set(states) == {before, after}
    for path, state in zip(files, states, strict=True):
        async with opened(path) as pair:
            await pair.transport.release(["worker", "other"])
            consumer = await pair.transport.consumer("heir", [QUEUE], lease=60)
            deliveries = await consumer.fetch(LIMITS, 100, suspects=100)
            assert len(deliveries) == state.counts.ready + state.counts.running
