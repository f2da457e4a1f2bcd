"""What is called: each call's kind and numbers follow from the seed, in whatever process they are asked for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from asyncq import Status
from asyncq.transport import Capabilities


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
    SLOTTED = "needs a slot of its key"
    SLOTTED_CANCELLED = "needs a slot of its key, and is cancelled"
    RATED = "needs a turn of its key"
    RATED_CANCELLED = "needs a turn of its key, and is cancelled"
    UNIQUE = "is the only one of its key"
    UNIQUE_RETRIED = "is the only one of its key, and fails once"
    MOVED = "is given another time"
    GROUPED = "is of a group"
    GROUPED_RETRIED = "is of a group, and fails once"
    GROUPED_CANCELLED = "is of a group, and is cancelled"
    GROUPED_SLOTTED = "is of a group, and needs a slot of its key"
    TICK = "is a tick of a schedule"
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
    Kind.SLOTTED: 4,
    Kind.SLOTTED_CANCELLED: 1,
    Kind.RATED: 3,
    Kind.RATED_CANCELLED: 1,
    Kind.UNIQUE: 3,
    Kind.UNIQUE_RETRIED: 1,
    Kind.MOVED: 3,
    Kind.GROUPED: 8,
    Kind.GROUPED_RETRIED: 1,
    Kind.GROUPED_CANCELLED: 2,
    Kind.GROUPED_SLOTTED: 2,
}
"""Shares of all others."""

SLOTTED = {Kind.SLOTTED, Kind.SLOTTED_CANCELLED, Kind.GROUPED_SLOTTED}
RATED = {Kind.RATED, Kind.RATED_CANCELLED}
UNIQUE = {Kind.UNIQUE, Kind.UNIQUE_RETRIED}
GROUPED = {Kind.GROUPED, Kind.GROUPED_RETRIED, Kind.GROUPED_CANCELLED, Kind.GROUPED_SLOTTED}
CANCELLED = {Kind.CANCELLED, Kind.SLOTTED_CANCELLED, Kind.RATED_CANCELLED, Kind.GROUPED_CANCELLED}

SLOTS = 2
"""Runs of one key at once, where its calls need slots."""

TURNS, PER = 3, 2.0
"""Starts of one key in so many seconds, where its calls need turns."""

KEYS = ("a", "b", "c")
IN_A_ROW = 200
"""Calls, of whatever kind, after which another key's turn comes: so one has too many for a while, and then none."""

GROUPS = {"large": 8, "small": 1, "smaller": 1}
"""Shares of calls that have a group: each second time that a key's turn comes, and none between, so that queues are
without groups for a while."""

AGAIN = 2.5
"""Seconds from when a call is given another time until that."""


DEAD = {
    *(Kind.FAILS, Kind.REJECTED, Kind.TIMES_OUT, Kind.POISON),
    *(Kind.SYSTEM_EXIT, Kind.INTERRUPT, Kind.BASE, Kind.SELF_CANCEL),
}
"""Kinds that end among the dead letters."""

DEADLY = {Kind.PROCESS_EXITS, Kind.EXITS, Kind.STUCK, Kind.POISON}
"""Kinds that take their process with them."""

STARTED_LATE = {Kind.PROCESS, Kind.PROCESS_EXITS, Kind.THREAD}
"""Kinds that run in a process of the pool, or in a thread, which begins after the tasks beside it that need none. Any
of these may have ended the process by then."""

SECONDS = {
    Kind.QUICK: (0, 0.05),
    Kind.SLOW: (0.2, 1),
    Kind.LONG: (1, 3),
    Kind.THREAD: (0, 0.3),
    Kind.PROCESS: (0, 0.3),
    Kind.CANCELLED: (0.2, 2),
    Kind.SLOTTED: (0.1, 0.6),
    Kind.SLOTTED_CANCELLED: (0.1, 0.6),
    Kind.UNIQUE: (0.1, 0.8),
    Kind.UNIQUE_RETRIED: (0.1, 0.8),
    Kind.GROUPED: (0, 0.5),
    Kind.GROUPED_CANCELLED: (0.2, 1),
    Kind.GROUPED_SLOTTED: (0.1, 0.6),
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
        patience: how long after publishing it is cancelled, or given another time, if it is of that kind.
        key: of its limit, or that it has to itself; empty: it has none.
        group: with whom it takes turns; empty: with all that have none.
    """

    id: str
    kind: Kind
    seconds: float
    delay: float
    patience: float
    key: str = ""
    group: str = ""

    @property
    def ends(self) -> set[Status]:
        """How it may end, whatever happens to processes, servers and networks."""
        if self.kind in CANCELLED:
            return {Status.CANCELLED, Status.SUCCEEDED}
        return {Status.FAILED if self.kind in DEAD else Status.SUCCEEDED}


def kinds_for(capabilities: Capabilities) -> Collection[Kind]:
    """Return the kinds that a broker which can do this may be given."""
    lacks: set[Kind] = set()
    if not capabilities.has_limits:
        lacks |= SLOTTED | RATED
    if not capabilities.has_uniqueness:
        lacks |= UNIQUE
    if not capabilities.has_groups:
        lacks |= GROUPED
    if not capabilities.reschedules:
        lacks |= {Kind.MOVED}
    return set(Kind) - lacks


def calls_of(seed: int, count: int, kinds: Collection[Kind] = tuple(Kind)) -> Sequence[Call]:
    """Return so many calls of these kinds, the same for the same seed, with each rare kind among them."""
    random = Random(f"calls {seed}")
    rare = [kind for kind, one_in in RARE.items() for _ in range(max(1, count // one_in))]
    often = {kind: share for kind, share in OFTEN.items() if kind in kinds}
    chosen = rare + random.choices(list(often), list(often.values()), k=count - len(rare))
    random.shuffle(chosen)
    return [_call(number, kind, random) for number, kind in enumerate(chosen)]


def _call(number: int, kind: Kind, random: Random) -> Call:
    seconds = random.uniform(*SECONDS.get(kind, (0, 0.05)))
    delay = random.uniform(0.1, 1.5) if random.random() < 0.1 else 0
    patience = random.uniform(0, 1.5)
    if kind is Kind.MOVED:
        delay = random.uniform(0.5, 4)
    key = KEYS[number // IN_A_ROW % len(KEYS)] if kind in SLOTTED | RATED | UNIQUE else ""
    has_group = kind in GROUPED and number // IN_A_ROW % 2 == 0
    [group] = random.choices(list(GROUPS), list(GROUPS.values())) if has_group else [""]
    return Call(f"call-{number}", kind, seconds, delay, patience, key, group)
