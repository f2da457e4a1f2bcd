"""The settings of a worker."""

from collections.abc import Mapping
from dataclasses import dataclass

from asyncq.worker.poolprocess import PoolCommand


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker was told.

    Attributes:
        queues: slots of each queue; None: as many as there are.
        concurrency: slots in all.
        max_waiting: runs whose slot is lent out at a time.
        is_burst: end when nothing is ready; what is due later, or has no turn yet, is left.
        shutdown_timeout: seconds that running tasks have to finish.
        lease: seconds after which a silent worker is taken for dead.
        max_block: seconds a blocked loop is kept alive.
        pool_processes: processes for tasks that run in one, at most.
        pool_command: what starts one.
        max_tasks: calls after which a process is replaced; None: never.
        max_memory: megabytes above which it is; None: never.
    """

    queues: Mapping[str, int | None]
    concurrency: int
    max_waiting: int
    is_burst: bool
    shutdown_timeout: float
    lease: float
    max_block: float
    pool_processes: int
    pool_command: PoolCommand
    max_tasks: int | None
    max_memory: float | None
