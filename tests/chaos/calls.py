"""What is called: each call's kind and numbers follow from the seed, in whatever process they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from asyncq import Status


class Kind(StrEnum):
    """What a call does when it runs. One that misbehaves once does so in its first run, and then returns a value."""

    QUICK = "quick"
    SLOW = "slow"
    LONG = "longer than a lease"
    THREAD = "in a thread"
    NESTED = "awaits another"
    RETRIED = "fails once"
    SNOOZES = "snoozes once"
    HOG = "takes all memory once"
    BLOCKS = "blocks the loop"
    CANCELLED = "is cancelled"
    FAILS = "fails for good"
    REJECTED = "rejects itself"
    TIMES_OUT = "runs out of time"
    SYSTEM_EXIT = "raises SystemExit"
    INTERRUPT = "raises KeyboardInterrupt"
    BASE = "raises BaseException"
    SELF_CANCEL = "cancels itself"
    PROCESS = "in a process of the pool"
    PROCESS_EXITS = "ends its process of the pool once"
    EXITS = "ends its process once"
    STUCK = "blocks the loop for ever, once"
    POISON = "ends its process each time"


RARE = {
    Kind.PROCESS: 50,
    Kind.BLOCKS: 150,
    Kind.HOG: 300,
    Kind.SYSTEM_EXIT: 300,
    Kind.INTERRUPT: 300,
    Kind.BASE: 300,
    Kind.SELF_CANCEL: 300,
    Kind.PROCESS_EXITS: 500,
    Kind.EXITS: 1_000,
    Kind.STUCK: 4_000,
    Kind.POISON: 2_000,
}
"""One in so many calls, and at least one."""

OFTEN = {
    Kind.QUICK: 60,
    Kind.SLOW: 10,
    Kind.LONG: 3,
    Kind.THREAD: 6,
    Kind.NESTED: 4,
    Kind.RETRIED: 6,
    Kind.SNOOZES: 2,
    Kind.CANCELLED: 5,
    Kind.FAILS: 2,
    Kind.REJECTED: 1,
    Kind.TIMES_OUT: 1,
}
"""Shares of all others."""

DEAD = {
    *(Kind.FAILS, Kind.REJECTED, Kind.TIMES_OUT, Kind.POISON),
    *(Kind.SYSTEM_EXIT, Kind.INTERRUPT, Kind.BASE, Kind.SELF_CANCEL),
}
"""Kinds that end among the dead letters."""

DEADLY = {Kind.PROCESS_EXITS, Kind.EXITS, Kind.STUCK, Kind.POISON}
"""Kinds that take their process with them."""

POOLED = {Kind.PROCESS, Kind.PROCESS_EXITS}
"""Kinds that run in a process of the pool."""

SECONDS = {
    Kind.QUICK: (0, 0.05),
    Kind.SLOW: (0.2, 1),
    Kind.LONG: (1, 3),
    Kind.THREAD: (0, 0.3),
    Kind.PROCESS: (0, 0.3),
    Kind.CANCELLED: (0.2, 2),
    Kind.BLOCKS: (1.1, 1.6),
}
"""The least and the most that a run takes; of other kinds, as long as what they do."""

CHILD = ".child"
"""What the id of a call ends with that another one awaits."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        kind: what it does.
        seconds: how long that takes, where the kind leaves it open.
        delay: how long after publishing it is due; 0: at once.
        patience: how long after publishing it is cancelled, if it is of that kind.
    """

    id: str
    kind: Kind
    seconds: float
    delay: float
    patience: float

    @property
    def ends(self) -> set[Status]:
        """How it may end, whatever happens to processes, servers and networks."""
        if self.kind is Kind.CANCELLED:
            return {Status.CANCELLED, Status.SUCCEEDED}
        return {Status.FAILED if self.kind in DEAD else Status.SUCCEEDED}


def calls_of(seed: int, count: int) -> Sequence[Call]:
    """Return so many calls, the same for the same seed, with each rare kind among them."""
    random = Random(f"calls {seed}")
    rare = [kind for kind, one_in in RARE.items() for _ in range(max(1, count // one_in))]
    kinds = rare + random.choices(list(OFTEN), list(OFTEN.values()), k=count - len(rare))
    random.shuffle(kinds)
    return [_call(f"call-{number}", kind, random) for number, kind in enumerate(kinds)]


def _call(id: str, kind: Kind, random: Random) -> Call:
    seconds = random.uniform(*SECONDS.get(kind, (0, 0.05)))
    delay = random.uniform(0.1, 1.5) if random.random() < 0.1 else 0
    return Call(id, kind, seconds, delay, random.uniform(0, 1.5))
