"""The plan: which faults come when. The same seed gives the same plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from random import Random

from tests.chaos.link import Direction


class FaultKind(StrEnum):
    """What happens."""

    KILL_WORKER = "SIGKILL worker"
    FREEZE_WORKER = "SIGSTOP worker"
    STOP_WORKER = "SIGTERM worker"
    KILL_PRODUCER = "SIGKILL producer"
    FREEZE_PRODUCER = "SIGSTOP producer"
    STOP_PRODUCER = "SIGTERM producer"
    KILL_WAITER = "SIGKILL waiter"
    KILL_SERVER = "kill server"
    FREEZE_SERVER = "freeze server"
    DEBUG_SLEEP = "DEBUG SLEEP"
    CLIENT_KILL = "CLIENT KILL"
    SCRIPT_FLUSH = "SCRIPT FLUSH"
    CUT = "cut"
    REFUSE = "refuse"
    DELAY = "delay"
    HALF_CLOSE = "half-close"
    BLACKHOLE = "blackhole"
    FREEZE_WRITER = "SIGSTOP in a transaction"
    KILL_WRITER = "SIGKILL in a transaction"
    KILL_NODE = "kill RabbitMQ"
    FREEZE_NODE = "freeze RabbitMQ"
    STOP_APP = "stop and start RabbitMQ's app"
    MEMORY_ALARM = "memory alarm of RabbitMQ"
    CLOSE_CONNECTIONS = "RabbitMQ closes all connections"
    CRASH_CHANNELS = "RabbitMQ's channels crash"
    CRASH_QUEUES = "RabbitMQ's queues crash"
    CUT_NODE = "cut from RabbitMQ"
    REFUSE_NODE = "refuse to RabbitMQ"
    DELAY_NODE = "delay to RabbitMQ"
    HALF_CLOSE_NODE = "half-close to RabbitMQ"
    BLACKHOLE_NODE = "blackhole to RabbitMQ"


K = FaultKind

OF_PROCESSES = (
    *(K.KILL_WORKER, K.FREEZE_WORKER, K.STOP_WORKER, K.KILL_PRODUCER, K.FREEZE_PRODUCER, K.STOP_PRODUCER),
    *(K.KILL_WORKER, K.FREEZE_WORKER, K.KILL_WAITER),
)
OF_SERVER = (K.KILL_SERVER, K.FREEZE_SERVER, K.DEBUG_SLEEP, K.CLIENT_KILL, K.SCRIPT_FLUSH)
OF_NETWORK = (K.CUT, K.REFUSE, K.DELAY, K.HALF_CLOSE, K.BLACKHOLE, K.BLACKHOLE)
OF_FILE = (K.FREEZE_WRITER, K.KILL_WRITER)

OF_NODE = (
    *(K.KILL_NODE, K.FREEZE_NODE, K.STOP_APP, K.MEMORY_ALARM, K.CLOSE_CONNECTIONS, K.CRASH_CHANNELS, K.CRASH_QUEUES),
    *(K.CUT_NODE, K.REFUSE_NODE, K.DELAY_NODE, K.HALF_CLOSE_NODE, K.BLACKHOLE_NODE),
)
OF_STORE = (K.KILL_SERVER, K.FREEZE_SERVER, K.CLIENT_KILL, K.CUT, K.REFUSE, K.DELAY, K.BLACKHOLE)

KINDS = {
    "redis": (*OF_PROCESSES, *OF_SERVER, *OF_NETWORK),
    "sqlite": (*OF_PROCESSES, *OF_FILE),
    "rabbitmq": (*OF_PROCESSES, *OF_NODE, *OF_STORE),
    "rabbitmq+sqlite": (*OF_PROCESSES, *OF_NODE, *OF_FILE),
}
"""By the broker; after a plus, what remembers its calls: a Redis, if nothing is said."""

SECONDS = {
    K.FREEZE_WORKER: (1.5, 3.5),
    K.FREEZE_PRODUCER: (0.5, 3),
    K.KILL_SERVER: (0, 1.5),
    K.FREEZE_SERVER: (0.3, 3.5),
    K.DEBUG_SLEEP: (0.2, 2.5),
    K.REFUSE: (0.3, 2),
    K.DELAY: (0.5, 3),
    K.HALF_CLOSE: (0, 0),
    K.BLACKHOLE: (0.5, 3.5),
    K.FREEZE_WRITER: (0.5, 3),
    K.KILL_NODE: (0, 1.5),
    K.FREEZE_NODE: (0.3, 3.5),
    K.STOP_APP: (0, 1.5),
    K.MEMORY_ALARM: (0.5, 3.5),
    K.REFUSE_NODE: (0.3, 2),
    K.DELAY_NODE: (0.5, 3),
    K.BLACKHOLE_NODE: (0.5, 3.5),
}
"""How long a fault lasts; leases are one second. Others are over at once."""

DELAYS = (0.02, 0.3)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds from the begin of the run.
        seconds: how long it lasts.
        target: which of those that it can befall, modulo their number.
        directions: of a network's line; empty: both.
        delay: of a slow network, seconds.
        is_rough: a reset, not an end in order; a whole group of processes, not one of them.
    """

    kind: FaultKind
    at: float
    seconds: float
    target: int
    directions: tuple[Direction, ...]
    delay: float
    is_rough: bool


def plan(seed: int, count: int, seconds: float, broker: str) -> Sequence[Fault]:
    """Return so many faults, spread evenly over the seconds, each kind as often as the others."""
    random = Random(f"faults {seed} {broker}")
    kinds = list(KINDS[broker])
    random.shuffle(kinds)
    step = seconds / count
    return [
        _fault(kind, (number + random.random()) * step, random)
        for number, kind in enumerate(islice(cycle(kinds), count))
    ]


def _fault(kind: FaultKind, at: float, random: Random) -> Fault:
    return Fault(
        kind,
        at,
        seconds=random.uniform(*SECONDS.get(kind, (0, 0))),
        target=random.randrange(1_000),
        directions=random.choice([(), (Direction.TO_SERVER,), (Direction.TO_CLIENT,)]),
        delay=random.uniform(*DELAYS),
        is_rough=random.random() < 0.5,
    )
