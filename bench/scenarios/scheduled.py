"""Whether many tasks that are due much later make a queue slow: to schedule into, and to wake up from."""

import time

from bench.figures import median, percentile
from bench.lineup import Peer
from bench.scenarios.scenario import MILLISECONDS, Column, Sample, Scenario
from bench.servers import redis_server
from bench.stage import START_UP, Run, SampleFailed, Stage

FAR = 36_000.0
"""Seconds until the first of those that only stand there is due: no run takes so long."""
SPREAD = 1.0


async def scheduled(stage: Stage, peer: Peer) -> Sample:
    """Schedule tasks and let them fall due, beside a server, or a file, that knows of no others, pair by pair."""
    count = stage.scale.due_with_room
    async with redis_server() as loaded_server:
        loaded = await stage.run(peer, expected=count, server=loaded_server)
        await loaded.ask("schedule", count=stage.scale.backlog, lead=FAR, spread=FAR, warm_up=0)
        pairs = [await _pair(stage, peer, loaded) for _ in range(stage.scale.pairs)]
    return {key: median([pair[key] for pair in pairs]) for key in pairs[0]}


async def _pair(stage: Stage, peer: Peer, loaded: Run) -> Sample:
    alone = await stage.run(peer, expected=stage.scale.due_with_room)
    rate, p50, p99 = await _due(stage, alone)
    rate_behind, p50_behind, p99_behind = await _due(stage, loaded)
    return {
        "scheduling": rate_behind / rate,
        "p50_behind": p50_behind,
        "p50": p50,
        "p99_behind": p99_behind,
        "p99": p99,
        "rate_behind": rate_behind,
    }


async def _due(stage: Stage, run: Run) -> tuple[float, float, float]:
    """Return how many were scheduled a second, and how late they started: half of them, and 99 of 100, at the most."""
    assert run.settings.tally is not None
    run.settings.tally.unlink(missing_ok=True)
    count = stage.scale.due_with_room
    busy = await run.ask("schedule", count=stage.scale.drained, lead=FAR, spread=FAR, warm_up=0)
    async with run.worker(start_up=START_UP) as worker:
        before = time.time()
        answer = await run.ask("schedule", count=count, lead=stage.scale.due_lead, spread=SPREAD, warm_up=3)
        if answer["spare"] < 0:
            raise SampleFailed(f"the first task was due {-answer['spare']:.1f} s before the last was published")
        lateness = (await worker.tally()).lateness_from(before)
    p50, p99 = (percentile(lateness, share) * MILLISECONDS for share in (50, 99))
    return busy["count"] / busy["seconds"], p50, p99


COLUMNS = (
    Column("scheduling", "scheduling ratio", 2),
    Column("p50_behind", "lateness p50 ms behind", 1, is_less_better=True),
    Column("p50", "p50 ms alone", 1, is_less_better=True),
    Column("p99_behind", "lateness p99 ms behind", 1, is_less_better=True),
    Column("p99", "p99 ms alone", 1, is_less_better=True),
    Column("rate_behind", "scheduled/s behind"),
)

SCENARIOS = (
    Scenario(
        "scheduled",
        "With a million scheduled for much later, against none",
        COLUMNS,
        ("asyncq",),
        scheduled,
        rounds=1,
    ),
    Scenario(
        "sqlite-scheduled",
        "SQLite: with a million scheduled for much later, against none",
        COLUMNS,
        ("asyncq-sqlite",),
        scheduled,
        rounds=1,
    ),
)
