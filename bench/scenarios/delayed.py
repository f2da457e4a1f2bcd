"""How fast and how punctually tasks start that were published for later."""

import time
from functools import partial

from bench.figures import percentile
from bench.lineup import Peer
from bench.scenarios.scenario import MILLISECONDS, Column, Sample, Scenario
from bench.stage import START_UP, SampleFailed, Stage

SPREAD = 1.0


async def due(stage: Stage, peer: Peer, *, has_room: bool) -> Sample:
    """Let tasks fall due over one second: few, or as many as a worker can hardly run."""
    count = stage.scale.due_with_room if has_room else stage.scale.due
    run = await stage.run(peer, expected=count)
    async with run.worker(start_up=START_UP) as worker:
        answer = await run.ask("schedule", count=count, lead=stage.scale.due_lead, spread=SPREAD, warm_up=3)
        if answer["spare"] < 0:
            raise SampleFailed(f"the first task was due {-answer['spare']:.1f} s before the last was published")
        tally = await worker.tally()
    first_due = answer["first_due"] - time.time() + time.monotonic()
    lateness = tally.lateness_from(0)
    return {
        "rate": count / (tally.last - first_due),
        "p50": percentile(lateness, 50) * MILLISECONDS,
        "p99": percentile(lateness, 99) * MILLISECONDS,
        "scheduled": count / answer["seconds"],
    }


P50 = Column("p50", "lateness p50 ms", 1, is_less_better=True)
P99 = Column("p99", "lateness p99 ms", 1, is_less_better=True)
SCHEDULED = Column("scheduled", "scheduled/s")
PEERS = ("asyncq", "saq", "streaq", "arq", "arq-10ms")

SCENARIOS = (
    Scenario(
        "due",
        "Many tasks due within one second",
        (Column("rate", "tasks/s"), P50, P99, SCHEDULED),
        PEERS,
        partial(due, has_room=False),
    ),
    Scenario(
        "due-with-room",
        "Few tasks due within one second (saq: whole seconds, so it starts early)",
        (P99, P50, SCHEDULED),
        PEERS,
        partial(due, has_room=True),
        onlookers=frozenset({"saq"}),
    ),
)
