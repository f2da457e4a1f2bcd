"""What limits cost: tasks with a rate limit that is never reached, and with a slot, against the same without."""

from bench.figures import median
from bench.lineup import Peer
from bench.scenarios.drain import drain
from bench.scenarios.scenario import Column, Sample, Scenario
from bench.stage import Stage


async def limits(stage: Stage, peer: Peer) -> Sample:
    """Drain each in turn, as often as pairs are measured, and return the median of the ratios."""
    rates: list[Sample] = []
    for _ in range(stage.scale.pairs):
        plain, limited, slotted = [await drain(stage, peer, task=task) for task in ("noop", "limited", "slotted")]
        rates.append(
            {
                "rate_limit": limited["rate"] / plain["rate"],
                "concurrency": slotted["rate"] / plain["rate"],
                "commands": limited["commands"],
            }
        )
    return {key: median([each[key] for each in rates]) for key in rates[0]}


SCENARIOS = (
    Scenario(
        "limits",
        "With limits, against none",
        (
            Column("rate_limit", "rate limit ratio", 2),
            Column("concurrency", "concurrency limit ratio", 2),
            Column("commands", "commands/task", 2, is_less_better=True),
        ),
        ("asyncq",),
        limits,
        rounds=1,
    ),
)
