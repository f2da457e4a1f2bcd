"""Whether a long queue makes a queue slow."""

from bench.figures import median
from bench.lineup import Peer
from bench.scenarios.scenario import Column, Sample, Scenario
from bench.servers import redis_server
from bench.stage import Run, Stage


async def backlog(stage: Stage, peer: Peer) -> Sample:
    """Enqueue and drain beside a server that has nothing else to do, pair by pair."""
    count = stage.scale.drained
    async with redis_server() as loaded_server:
        loaded = await stage.run(peer, expected=count, server=loaded_server)
        await loaded.ask("fill", count=stage.scale.backlog)
        pairs = [await _pair(stage, peer, loaded) for _ in range(stage.scale.pairs)]
    return {key: median([pair[key] for pair in pairs]) for key in pairs[0]}


async def _pair(stage: Stage, peer: Peer, loaded: Run) -> Sample:
    alone = await stage.run(peer, expected=stage.scale.drained)
    enqueued, enqueued_behind = [await _enqueued(stage, run) for run in (alone, loaded)]
    drained, drained_behind = [await _drained(stage, run) for run in (alone, loaded)]
    return {
        "drain": drained_behind / drained,
        "enqueue": enqueued_behind / enqueued,
        "drain_rate": drained_behind,
        "enqueue_rate": enqueued_behind,
    }


async def _enqueued(stage: Stage, run: Run) -> float:
    answer = await run.ask("concurrent", count=stage.scale.drained)
    return answer["count"] / answer["seconds"]


async def _drained(stage: Stage, run: Run) -> float:
    assert run.settings.tally is not None
    run.settings.tally.unlink(missing_ok=True)
    async with run.worker(is_killed=False) as worker:  # it hands back what it has begun: the next one finds the same
        tally = await worker.tally()
    return stage.scale.drained / (tally.last - tally.first)


SCENARIOS = (
    Scenario(
        "backlog",
        "With a backlog behind, against none",
        (
            Column("drain", "drain ratio", 2),
            Column("enqueue", "enqueue ratio", 2),
            Column("drain_rate", "drain/s behind"),
            Column("enqueue_rate", "enqueue/s behind"),
        ),
        ("asyncq",),
        backlog,
        rounds=1,
    ),
)
