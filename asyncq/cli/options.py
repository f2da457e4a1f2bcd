"""What the options of a command line are turned into, and how they are checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import click

from asyncq.errors import ConfigurationError
from asyncq.queues import check_queue_name


class QueueSlots(NamedTuple):
    """A queue to consume, and the slots it may fill; None: as many as the worker has."""

    name: str
    slots: int | None


class QueueSlotsType(click.ParamType[QueueSlots]):
    """`NAME` or `NAME:N`."""

    name = "NAME[:N]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> QueueSlots:
        name, colon, slots = str(value).partition(":")
        if colon and not (slots.isdecimal() and int(slots) > 0):
            self.fail(f"{value!r}: after the colon stands how many of its tasks run at once, 1 or more.", param, ctx)
        try:
            return QueueSlots(check_queue_name(name), int(slots) if colon else None)
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class AmountType(click.ParamType[float]):
    """A number of some unit, at least `least`, or more than it."""

    unit: str

    def __init__(self, least: float = 0.0, *, or_equal: bool = True) -> None:
        self._least = least
        self._or_equal = or_equal

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            amount = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number of {self.unit}.", param, ctx)
        if not isfinite(amount) or amount < self._least or (amount == self._least and not self._or_equal):
            wanted = f"{self._least:g} or more" if self._or_equal else f"more than {self._least:g}"
            self.fail(f"a number of {self.unit}, {wanted}, is wanted; got {value!r}.", param, ctx)
        return amount


class SecondsType(AmountType):
    """A number of seconds."""

    name = "SECONDS"
    unit = "seconds"


class MegabytesType(AmountType):
    """A number of megabytes."""

    name = "MB"
    unit = "megabytes"


def unique_queues(_ctx: click.Context, _param: click.Parameter, queues: Sequence[QueueSlots]) -> Sequence[QueueSlots]:
    """Refuse a queue that is named twice."""
    names = [queue.name for queue in queues]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"queue {name!r} is named twice.")
    return queues


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The command line of `asyncq worker`; what the options mean stands in its help."""

    app: str
    modules: Sequence[str]
    queues: Sequence[QueueSlots]
    concurrency: int
    processes: int
    app_dir: Path
    burst: bool
    reload: bool
    shutdown_timeout: float
    lease: float
    max_block: float
    pool_processes: int | None
    max_tasks_per_child: int | None
    max_memory_per_child: float | None
    log_level: str
    log_format: str
    fail_fast: bool

    @property
    def needs_supervisor(self) -> bool:
        """Whether worker processes are started and replaced by another one."""
        return self.processes > 1 or self.reload or bool(self.max_tasks_per_child or self.max_memory_per_child)
