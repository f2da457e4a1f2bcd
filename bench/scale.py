"""How much of everything a run measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: numbers of tasks, seconds, rounds."""

    rounds: int = 3
    sequential: int = 5_000
    concurrent: int = 20_000
    batched: int = 50_000
    drained: int = 20_000
    calls: int = 1_500
    call_warm_up: int = 200
    call_seconds: float = 8
    callers: int = 50
    caller_seconds: float = 4
    due: int = 20_000
    due_lead: float = 6
    due_with_room: int = 300
    delayed: int = 10_000
    delayed_rate: int = 500
    idle_seconds: float = 20
    idle_settling: float = 10
    queued: int = 20_000
    backlog: int = 1_000_000
    pairs: int = 5


QUICK = Scale(
    rounds=1,
    sequential=2_000,
    concurrent=10_000,
    batched=20_000,
    drained=5_000,
    calls=300,
    call_warm_up=50,
    call_seconds=4,
    caller_seconds=1.5,
    due=5_000,
    due_lead=3,
    due_with_room=100,
    delayed=1_000,
    idle_seconds=4,
    idle_settling=4,
    backlog=100_000,
    pairs=2,
)
