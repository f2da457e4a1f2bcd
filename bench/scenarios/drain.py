"""How fast one worker process empties a queue that is full when it starts."""

from functools import partial

from bench.lineup import Peer
from bench.scenarios.scenario import MICROSECONDS, Column, Sample, Scenario
from bench.stage import SampleFailed, Stage

COLUMNS = (
    Column("rate", "tasks/s"),
    Column("worker_cpu", "worker CPU us", 1, is_less_better=True),
    Column("redis_cpu", "Redis CPU us", 1, is_less_better=True),
    Column("commands", "commands/task", 2, is_less_better=True),
    Column("reads", "reads/task", 3, is_less_better=True),
)


async def drain(
    stage: Stage, peer: Peer, *, task: str = "noop", concurrency: int = 100, keeps_results: bool = True
) -> Sample:
    """Time from the start of the first task to the last acknowledgement."""
    count = stage.scale.drained
    run = await stage.run(peer, concurrency=concurrency, keeps_results=keeps_results, expected=count)
    await run.ask("fill", count=count, task=task)
    before = await run.server.counters()
    async with run.worker() as worker:
        tally = await worker.tally()
        end, asked = await run.settled(worker)
        spent = await run.server.counters() - before
        kept = await run.server.number(("DBSIZE",))
    if keeps_results and kept < count and peer.name not in NO_RESULTS:
        raise SampleFailed(f"{count} results should be there, and there are {kept} keys")
    return {
        "rate": count / (end - tally.first),
        "worker_cpu": tally.cpu / count * MICROSECONDS,
        "redis_cpu": spent.cpu / count * MICROSECONDS,
        "commands": (spent.commands - asked) / count,
        "reads": (spent.reads - asked) / count,
    }


NO_RESULTS = frozenset({"repid"})
KEEPING = ("asyncq", "taskiq", "saq", "streaq", "arq", "arq-10ms", "floor")
ALL = (*KEEPING[:-1], "repid", "floor")

SCENARIOS = (
    Scenario("drain-results", "Drain, results stored, concurrency 100", COLUMNS, KEEPING, drain),
    Scenario(
        "drain-plain",
        "Drain, no results, concurrency 100",
        COLUMNS,
        ALL,
        partial(drain, keeps_results=False),
    ),
    Scenario(
        "drain-naps",
        "Drain of tasks that sleep 10 ms, results stored (repid: none), concurrency 1,000",
        COLUMNS,
        ALL,
        partial(drain, task="nap", concurrency=1000),
        onlookers=NO_RESULTS,
    ),
)
