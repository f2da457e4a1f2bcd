"""What a worker costs that has nothing to do."""

import asyncio

from bench.lineup import Peer
from bench.machine import cpu_seconds, resident_megabytes
from bench.scenarios.scenario import Column, Sample, Scenario
from bench.servers import redis_server
from bench.stage import Stage


async def idle(stage: Stage, peer: Peer) -> Sample:
    """Watch a worker for a while, on a server of its own: all peers idle at the same time."""
    async with redis_server() as server:
        run = await stage.run(peer, server=server)
        async with run.worker() as worker:
            await asyncio.sleep(stage.scale.idle_settling)
            before, cpu = await server.counters(), cpu_seconds(worker.pids())
            await asyncio.sleep(stage.scale.idle_seconds)
            spent = await server.counters() - before
            pids = worker.pids()
            return {
                "cpu": (cpu_seconds(pids) - cpu) / stage.scale.idle_seconds * 20,
                "commands": spent.commands / stage.scale.idle_seconds,
                "reads": spent.reads / stage.scale.idle_seconds,
                "memory": resident_megabytes(pids),
                "processes": len(pids),
            }


SCENARIOS = (
    Scenario(
        "idle",
        "Idle worker",
        (
            Column("cpu", "CPU s in 20 s", 4, is_less_better=True),
            Column("commands", "Redis commands/s", 2, is_less_better=True),
            Column("reads", "Redis reads/s", 2, is_less_better=True),
            Column("memory", "RSS MB", 1, is_less_better=True),
            Column("processes", "processes", is_less_better=True),
        ),
        ("asyncq", "taskiq", "saq", "streaq", "arq", "arq-10ms", "repid", "floor"),
        idle,
        is_together=True,
    ),
)
