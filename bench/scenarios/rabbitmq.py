"""Queues in RabbitMQ; results, where they are kept, in Redis."""

from functools import partial

from bench.figures import percentile
from bench.lineup import Peer
from bench.scenarios.round_trip import CALLS, LOST, P50, P99, idle
from bench.scenarios.scenario import MICROSECONDS, MILLISECONDS, Column, Sample, Scenario
from bench.stage import START_UP, Run, SampleFailed, Stage

SHORTEST, LONGEST = 0.1, 20.0
SETTLING = 2.0
"""Seconds of delays; and from the first publish to the first due time that counts."""


async def drain(stage: Stage, peer: Peer, *, keeps_results: bool) -> Sample:
    """Time from the start of the first task to the last acknowledgement."""
    count = stage.scale.drained
    run = await stage.run(peer, keeps_results=keeps_results, expected=count)
    await run.ask("fill", count=count)
    before = _cpu(run)
    async with run.worker() as worker:
        tally = await worker.tally()
        end, _ = await run.settled(worker)
        spent = _cpu(run) - before
        kept = await run.server.number(("DBSIZE",))
    if keeps_results and kept < count:
        raise SampleFailed(f"{count} results should be there, and there are {kept} keys")
    return {
        "rate": count / (end - tally.first),
        "worker_cpu": tally.cpu / count * MICROSECONDS,
        "rabbitmq_cpu": spent / count * MICROSECONDS,
    }


async def enqueue(stage: Stage, peer: Peer, *, do: str) -> Sample:
    """Publish with confirms."""
    run = await stage.run(peer)
    before = _cpu(run)
    answer = await run.ask(do, count=getattr(stage.scale, do))
    spent = _cpu(run) - before
    return {
        "rate": answer["count"] / answer["seconds"],
        "client_cpu": answer["cpu"] / answer["count"] * MICROSECONDS,
        "rabbitmq_cpu": spent / answer["sent"] * MICROSECONDS,
    }


async def delays(stage: Stage, peer: Peer, *, is_burst: bool) -> Sample:
    """Publish tasks with random delays while a worker runs, and see how late each starts."""
    count = stage.scale.delayed
    run = await stage.run(peer, keeps_results=False, expected=count)
    order = {"count": count, "rate": 0 if is_burst else stage.scale.delayed_rate}
    async with run.worker(start_up=START_UP) as worker:
        answer = await run.ask("delay", **order, shortest=SHORTEST, longest=LONGEST)
        tally = await worker.tally()
    lateness = tally.lateness_from(answer["started"] + SETTLING)
    return {
        "p50": percentile(lateness, 50) * MILLISECONDS,
        "p99": percentile(lateness, 99) * MILLISECONDS,
        "max": max(lateness) * MILLISECONDS,
        "lost": count - len({due for due, _ in tally.lateness}),
        "published": count / answer["seconds"],
    }


def _cpu(run: Run) -> float:
    assert run.rabbitmq is not None
    return run.rabbitmq.cpu()


RATE = Column("rate", "tasks/s")
RABBITMQ_CPU = Column("rabbitmq_cpu", "RabbitMQ CPU us", 1, is_less_better=True)
DRAIN = (RATE, Column("worker_cpu", "worker CPU us", 1, is_less_better=True), RABBITMQ_CPU)
ENQUEUE = (RATE, Column("client_cpu", "client CPU us", 1, is_less_better=True), RABBITMQ_CPU)
DELAYS = (
    Column("p99", "lateness p99 ms", 1, is_less_better=True),
    Column("p50", "lateness p50 ms", 1, is_less_better=True),
    Column("max", "lateness max ms", 1, is_less_better=True),
    Column("lost", "lost", is_less_better=True),
    Column("published", "published/s"),
)

PLAIN, STORED, CLASSIC = "asyncq-rabbitmq", "asyncq-rabbitmq-store", "asyncq-rabbitmq-classic"
RIVALS = ("taskiq-rabbitmq", "dramatiq")
ALL = (PLAIN, *RIVALS, "aiormq")

SCENARIOS = (
    Scenario(
        "rabbitmq-drain",
        "RabbitMQ: drain, no results, concurrency 100",
        DRAIN,
        ALL,
        partial(drain, keeps_results=False),
    ),
    Scenario(
        "rabbitmq-drain-results",
        "RabbitMQ: drain, results stored in Redis, concurrency 100",
        DRAIN,
        (STORED, *RIVALS),
        partial(drain, keeps_results=True),
    ),
    Scenario(
        "rabbitmq-sequential",
        "RabbitMQ: enqueue, one by one, confirmed",
        ENQUEUE,
        ALL,
        partial(enqueue, do="sequential"),
    ),
    Scenario(
        "rabbitmq-concurrent",
        "RabbitMQ: enqueue, 100 concurrent calls, confirmed",
        ENQUEUE,
        ALL,
        partial(enqueue, do="concurrent"),
    ),
    Scenario("rabbitmq-round-trip", "RabbitMQ: round trip, idle", (P50, P99, CALLS, LOST), (*ALL, CLASSIC), idle),
    Scenario(
        "rabbitmq-delays",
        "RabbitMQ: delays of 0.1 to 20 s, 500 published a second",
        DELAYS,
        ALL,
        partial(delays, is_burst=False),
    ),
    Scenario(
        "rabbitmq-burst",
        "RabbitMQ: delays of 0.1 to 20 s, published as one burst",
        DELAYS,
        ALL,
        partial(delays, is_burst=True),
    ),
)
