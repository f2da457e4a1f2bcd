"""What the options of a command line are turned into, and how they are checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from asyncq.errors import ConfigurationError
from asyncq.queues import check_queue_name

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_DURATION = re.compile(r"\d+(\.\d+)?|(\d+(\.\d+)?[smhdw])+")


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


class QueueNameType(click.ParamType[str]):
    """The name of a queue."""

    name = "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_queue_name(str(value))
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[float]):
    """A span of time: a number of seconds, or numbers with a unit each, as `90s`, `15m`, `2h`, `1d12h`."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in _PARTS.findall(text))
        if not _DURATION.fullmatch(text) or not isfinite(seconds):
            self.fail(f"{value!r} is no span of time, such as 90, 90s, 15m, 2h or 3d.", param, ctx)
        return seconds


class MomentType(click.ParamType[datetime]):
    """A moment, with its offset from UTC."""

    name = "MOMENT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() is None:
            self.fail(f"{value!r} is no moment with an offset, such as 2026-01-31T08:00+01:00 or ...Z.", param, ctx)
        return moment


class JSONType(click.ParamType[Any]):
    """A JSON array (list) or object (dict)."""

    name = "JSON"

    def __init__(self, kind: type[list[Any]] | type[dict[str, Any]]) -> None:
        self._kind = kind

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return msgspec.json.decode(str(value), type=self._kind)
        except msgspec.MsgspecError as error:
            wanted = "array" if self._kind is list else "object"
            self.fail(f"{value!r} is no JSON {wanted}: {error}", param, ctx)


log_level_option = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="info",
    help="Least level that is logged.",
)
log_format_option = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", help="One JSON object a line, or text."
)
fail_fast_option = click.option(
    "--fail-fast", is_flag=True, help="End at once when the server cannot be reached at the start."
)


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
    scheduler: bool

    @property
    def needs_supervisor(self) -> bool:
        """Whether worker processes are started and replaced by another one."""
        return self.processes > 1 or self.reload or bool(self.max_tasks_per_child or self.max_memory_per_child)
