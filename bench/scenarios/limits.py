"""What limits cost: tasks with a rate limit that is never reached, and with a slot, against the same without."""

from collections.abc import Awaitable, Callable
from functools import partial

from bench.figures import median
from bench.lineup import Peer
from bench.scenarios import embedded
from bench.scenarios.drain import drain
from bench.scenarios.scenario import Column, Sample, Scenario
from bench.stage import Stage

RATIOS = (Column("rate_limit", "rate limit ratio", 2), Column("concurrency", "concurrency limit ratio", 2))


async def limits(stage: Stage, peer: Peer, *, drain: Callable[..., Awaitable[Sample]]) -> Sample:
    """Drain each in turn, as often as pairs are measured, and return the median of the ratios."""
    ratios: list[Sample] = []
    for _ in range(stage.scale.pairs):
        plain, limited, slotted = [await drain(stage, peer, task=task) for task in ("noop", "limited", "slotted")]
        ratios.append(
            {"rate_limit": limited["rate"] / plain["rate"], "concurrency": slotted["rate"] / plain["rate"]}
            | {key: value for key, value in limited.items() if key == "commands"}
        )
    return {key: median([each[key] for each in ratios]) for key in ratios[0]}


SCENARIOS = (
    Scenario(
        "limits",
        "With limits, against none",
        (*RATIOS, Column("commands", "commands/task", 2, is_less_better=True)),
        ("asyncq",),
        partial(limits, drain=drain),
        rounds=1,
    ),
    Scenario(
        "sqlite-limits",
        "SQLite: with limits, against none",
        RATIOS,
        ("asyncq-sqlite",),
        partial(limits, drain=embedded.drain),
        rounds=1,
    ),
)
