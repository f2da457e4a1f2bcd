"""What a queued task takes in Redis."""

from bench.lineup import Peer
from bench.scenarios.scenario import Column, Sample, Scenario
from bench.stage import Stage


async def memory(stage: Stage, peer: Peer) -> Sample:
    """Queue tasks with a payload of 100 bytes and see what memory they take once the client has gone."""
    count = stage.scale.queued
    run = await stage.run(peer)
    before = await run.server.used_memory()
    await run.ask("fill", count=count)
    return {"bytes": (await run.server.used_memory() - before) / count}


SCENARIOS = (
    Scenario(
        "memory",
        "Redis memory for a queued task",
        (Column("bytes", "bytes/task", is_less_better=True),),
        ("asyncq", "taskiq", "saq", "streaq", "arq", "repid", "floor"),
        memory,
    ),
)
