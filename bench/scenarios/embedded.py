"""Queues in a SQLite file."""

import asyncio

from bench.lineup import Peer
from bench.machine import cpu_seconds
from bench.scenarios.round_trip import CALLS, LOST, P50, P99, idle
from bench.scenarios.scenario import MICROSECONDS, Column, Sample, Scenario
from bench.stage import Stage

PERCENT = 100


async def drain(stage: Stage, peer: Peer, *, task: str = "noop") -> Sample:
    """Time from the start of the first task to the last acknowledgement."""
    count = stage.scale.drained
    run = await stage.run(peer, expected=count)
    filled = await run.ask("fill", count=count, task=task)
    async with run.worker() as worker:
        tally = await worker.tally()
        end, _ = await run.settled(worker)
    return {
        "rate": count / (end - tally.first),
        "worker_cpu": tally.cpu / count * MICROSECONDS,
        "enqueued": count / filled["seconds"],
    }


async def nothing(stage: Stage, peer: Peer) -> Sample:
    """Watch a worker that has nothing to do."""
    run = await stage.run(peer)
    async with run.worker() as worker:
        await asyncio.sleep(stage.scale.idle_settling)
        before = cpu_seconds(worker.pids())
        await asyncio.sleep(stage.scale.idle_seconds)
        spent = cpu_seconds(worker.pids()) - before
    return {"cpu": spent / stage.scale.idle_seconds * PERCENT}


PEERS = ("asyncq-sqlite", "huey", "huey-nosync")

SCENARIOS = (
    Scenario(
        "sqlite-drain",
        "SQLite: drain, results stored",
        (
            Column("rate", "tasks/s"),
            Column("worker_cpu", "worker CPU us", 1, is_less_better=True),
            Column("enqueued", "filled at tasks/s"),
        ),
        PEERS,
        drain,
    ),
    Scenario(
        "sqlite-round-trip",
        "SQLite: round trip between processes, idle",
        (P50, P99, CALLS, LOST),
        PEERS[:2],
        idle,
    ),
    Scenario(
        "sqlite-idle",
        "SQLite: idle worker",
        (Column("cpu", "CPU %", 3, is_less_better=True),),
        PEERS[:2],
        nothing,
        is_together=True,
    ),
)
