"""How fast tasks are published, and what one costs."""

from bench.lineup import Peer
from bench.scenarios.scenario import MICROSECONDS, Column, Sample, Scenario
from bench.stage import Stage

COLUMNS = (
    Column("rate", "tasks/s"),
    Column("client_cpu", "client CPU us", 1, is_less_better=True),
    Column("redis_cpu", "Redis CPU us", 1, is_less_better=True),
    Column("commands", "commands/task", 2, is_less_better=True),
    Column("reads", "reads/task", 2, is_less_better=True),
)


async def sequential(stage: Stage, peer: Peer) -> Sample:
    """Publish one by one, each awaited."""
    return await _publish(stage, peer, "sequential", stage.scale.sequential)


async def concurrent(stage: Stage, peer: Peer) -> Sample:
    """Publish 100 at once, again and again."""
    return await _publish(stage, peer, "concurrent", stage.scale.concurrent)


async def batches(stage: Stage, peer: Peer) -> Sample:
    """Publish by the library's batch call."""
    return await _publish(stage, peer, "batches", stage.scale.batched)


async def _publish(stage: Stage, peer: Peer, do: str, count: int) -> Sample:
    run = await stage.run(peer)
    before = await run.server.counters()
    answer = await run.ask(do, count=count)
    spent = await run.server.counters() - before
    return {
        "rate": answer["count"] / answer["seconds"],
        "client_cpu": answer["cpu"] / answer["count"] * MICROSECONDS,
        "redis_cpu": spent.cpu / answer["sent"] * MICROSECONDS,
        "commands": spent.commands / answer["sent"],
        "reads": spent.reads / answer["sent"],
    }


PEERS = ("asyncq", "taskiq", "saq", "streaq", "arq", "repid", "floor")

SCENARIOS = (
    Scenario("enqueue-sequential", "Enqueue, one by one", COLUMNS, (*PEERS, "redis-py"), sequential, times=3),
    Scenario("enqueue-concurrent", "Enqueue, 100 concurrent calls", COLUMNS, PEERS, concurrent),
    Scenario("enqueue-batch", "Enqueue, the batch call", COLUMNS, ("asyncq", "streaq", "floor"), batches),
)
