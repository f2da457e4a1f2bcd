"""What a worker says of itself at its start."""

import platform
from collections.abc import Sequence
from typing import NamedTuple

from asyncq import __version__
from asyncq.broker import Broker
from asyncq.cli.options import WorkerOptions
from asyncq.worker import Worker

MAX_NAMES = 8
"""Names shown; the rest is counted."""


class Banner(NamedTuple):
    """The facts of a start, in the order in which they are shown."""

    version: str
    python: str
    loop: str
    pid: int
    app: str
    broker: str
    namespace: str
    queues: Sequence[str]
    tasks: Sequence[str]
    concurrency: int
    processes: int
    lease: float
    schedules: Sequence[str] | None

    def text(self) -> str:
        """Return it as a few lines for people."""
        return "\n".join(
            [
                f"asyncq {self.version}, Python {self.python}, {self.loop}, pid {self.pid}",
                f"  app          {self.app}",
                f"  broker       {self.broker}, namespace {self.namespace}",
                f"  queues       {', '.join(self.queues)}",
                f"  tasks        {self._task_names()}",
                f"  concurrency  {self.concurrency} x {self.processes} process{'es' * (self.processes > 1)}",
                f"  lease        {self.lease:g} s",
                *([] if self.schedules is None else [f"  schedules    {spoken_schedules(self.schedules)}"]),
            ]
        )

    def _task_names(self) -> str:
        if not self.tasks:
            return "none. Is the module that declares them imported by the app, or named after it?"
        return _spoken(self.tasks)


def spoken_schedules(names: Sequence[str]) -> str:
    """Return what is said of the schedules that stand in the code."""
    return f"{_spoken(names)}; and those that were added" if names else "those that were added; the code declares none"


def _spoken(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return f"{len(names)}: {', '.join(names[:MAX_NAMES])}" + (f" and {more} more" if more > 0 else "")


def banner_of(options: WorkerOptions, broker: Broker, worker: Worker, *, loop: str, pid: int) -> Banner:
    """Gather the facts."""
    return Banner(
        version=__version__,
        python=platform.python_version(),
        loop=loop,
        pid=pid,
        app=options.app,
        broker=broker.describe(),
        namespace=broker.namespace,
        queues=[f"{name} ({slots} at once)" if slots else name for name, slots in worker.queues.items()],
        tasks=sorted(broker.tasks),
        concurrency=options.concurrency,
        processes=options.processes,
        lease=options.lease,
        schedules=sorted(broker.declared_schedules) if options.scheduler else None,
    )
