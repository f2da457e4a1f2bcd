"""Who is measured: where each library lives, how its worker is started, and how the server shows that it is done."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent

Broker: TypeAlias = Literal["redis", "sqlite", "rabbitmq"]
"""What has the queue."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment: the versions that a library is measured with."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return FOLDER / f".venv-{self.name}"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to run one library.

    Attributes:
        name: in tables and on the command line.
        module: its file in `bench.peers`.
        worker: the worker's command line; its program lies in the environment. `{concurrency}` is filled in.
        environment: where it is installed; None: here, with asyncq.
        broker: what has its queue.
        unsettled: a Redis command, an SQL statement, or the name of a RabbitMQ queue, whose (first) number is 0 once
            nothing is left to acknowledge.
        variables: its own environment variables.
        is_rival: a library that the bars compare asyncq with.
        is_floor: the least that is possible.
    """

    name: str
    module: str
    worker: tuple[str, ...] = ()
    environment: Environment | None = None
    unsettled: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    broker: Broker = "redis"
    is_rival: bool = True
    is_floor: bool = False

    @property
    def programs(self) -> Path:
        return self.environment.programs if self.environment else Path(sys.executable).parent

    def worker_command(self, concurrency: int) -> list[str]:
        program, *arguments = self.worker
        return [str(self.programs / program), *[each.format(concurrency=concurrency) for each in arguments]]


SPEED = ("uvloop==0.23.0", "hiredis==3.5.0")

TASKIQ = Environment("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0", *SPEED))
# saq imports typing_extensions and does not ask for it; repid converts arguments by pydantic where it is there.
SAQ = Environment("saq", ("saq==0.26.4", "redis==7.4.1", "typing-extensions==4.16.0", *SPEED))
STREAQ = Environment("streaq", ("streaq==7.2.0", "coredis==6.9.0", *SPEED))
ARQ = Environment("arq", ("arq==0.28.0", "redis==5.3.1", *SPEED))
REPID = Environment("repid", ("repid==2.1.4", "pydantic==2.14.3", "redis==7.4.1", *SPEED))
HUEY = Environment("huey", ("huey==3.5.4", *SPEED))
TASKIQ_RABBITMQ = Environment(
    "taskiq-rabbitmq",
    (
        *("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", "aio-pika==10.2.1", "aiormq==7.2.4"),
        *("taskiq-redis==1.2.4", "redis==8.1.0", *SPEED),
    ),
)
DRAMATIQ = Environment("dramatiq", ("dramatiq==2.2.1", "pika==1.4.4", "redis==8.1.0", *SPEED))


def taskiq_worker(module: str) -> tuple[str, ...]:
    """Return the command line of taskiq's worker with the broker in that module."""
    return (
        *("taskiq", "worker", f"bench.peers.{module}:broker", "--workers", "1", "--log-level", "WARNING"),
        *("--max-async-tasks", "{concurrency}", "--max-prefetch", "{concurrency}"),
    )


ASYNCQ_PEER = Peer(
    "asyncq",
    "asyncq_peer",
    (
        *("python", "-m", "asyncq", "worker", "bench.peers.asyncq_peer:broker"),
        *("--concurrency", "{concurrency}", "--log-level", "warning"),
    ),
    unsettled=("HLEN", "{asyncq}:q:default:messages"),
    is_rival=False,
)
ASYNCQ_RABBITMQ_PEER = replace(
    ASYNCQ_PEER, name="asyncq-rabbitmq", unsettled=("asyncq:asyncq:q:default",), broker="rabbitmq"
)
ARQ_PEER = Peer(
    "arq",
    "arq_peer",
    ("arq", "bench.peers.arq_peer.WorkerSettings", "--custom-log-dict", "bench.peers.arq_peer.LOGGING"),
    ARQ,
    ("ZCARD", "arq:queue"),
)
HUEY_PEER = Peer(
    "huey",
    "huey_peer",
    ("huey_consumer", "bench.peers.huey_peer.queue", "-w", "1", "-k", "thread", "-q"),
    HUEY,
    ("SELECT count(*) FROM task",),
    broker="sqlite",
)

PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        ASYNCQ_PEER,
        Peer("taskiq", "taskiq_peer", taskiq_worker("taskiq_peer"), TASKIQ, ("XPENDING", "taskiq", "taskiq")),
        Peer("saq", "saq_peer", ("saq", "bench.peers.saq_peer.settings"), SAQ, ("ZCARD", "saq:bench:incomplete")),
        Peer(
            "streaq",
            "streaq_peer",
            ("streaq", "run", "bench.peers.streaq_peer:worker"),
            STREAQ,
            ("XPENDING", "streaq:default:queues:normal", "workers"),
        ),
        ARQ_PEER,
        replace(ARQ_PEER, name="arq-10ms", variables={"BENCH_ARQ_POLL_DELAY": "0.01"}),
        Peer(
            "repid",
            "repid_peer",
            ("python", "-m", "bench.peers.repid_peer"),
            REPID,
            ("XPENDING", "repid:bench", "repid:bench:group"),
        ),
        Peer(
            "floor",
            "floor_peer",
            ("python", "-m", "bench.floor"),
            unsettled=("XLEN", "floor:stream"),
            is_rival=False,
            is_floor=True,
        ),
        Peer("redis-py", "redis_py_peer", is_rival=False),
        replace(
            ASYNCQ_PEER,
            name="asyncq-sqlite",
            unsettled=("SELECT count(*) FROM calls WHERE state <> 3",),
            broker="sqlite",
        ),
        HUEY_PEER,
        replace(
            HUEY_PEER,
            name="huey-nosync",
            variables={"BENCH_HUEY_FSYNC": "off"},
            is_rival=False,  # it may lose what it has confirmed when the power fails; asyncq's default does not
        ),
        ASYNCQ_RABBITMQ_PEER,
        replace(ASYNCQ_RABBITMQ_PEER, name="asyncq-rabbitmq-store", variables={"BENCH_ASYNCQ_STORE": "on"}),
        replace(ASYNCQ_RABBITMQ_PEER, name="asyncq-rabbitmq-classic", variables={"BENCH_ASYNCQ_CLASSIC": "on"}),
        Peer(
            "taskiq-rabbitmq",
            "taskiq_rabbitmq_peer",
            taskiq_worker("taskiq_rabbitmq_peer"),
            TASKIQ_RABBITMQ,
            ("taskiq",),
            broker="rabbitmq",
        ),
        Peer(
            "dramatiq",
            "dramatiq_peer",
            ("dramatiq", "bench.peers.dramatiq_peer", "--processes", "1", "--threads", "8"),
            DRAMATIQ,
            ("default",),
            variables={"dramatiq_queue_prefetch": "200"},
            broker="rabbitmq",
        ),
        Peer(
            "aiormq",
            "aiormq_peer",
            ("python", "-m", "bench.rabbitmq_floor"),
            unsettled=("floor",),
            broker="rabbitmq",
            is_rival=False,
            is_floor=True,
        ),
    )
}
