"""The history of a run, put together from all journals."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.chaos.calls import Call
from tests.chaos.journal import Entry


@dataclass(slots=True)
class Run:
    """One run of a call's function.

    Attributes:
        pid: the process that ran it.
        worker: the worker's, where the other is one of its pool.
        end: infinite where it was cut off.
        how: it ended: "returned", or the name of an exception; empty where it was cut off.
    """

    id: str
    name: str
    pid: int
    crew: str
    attempt: int
    begin: float
    end: float = inf
    how: str = ""
    worker: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that befell some: those processes, and all of those workers; `watchers` are producers and waiters."""

    kind: str
    begin: float
    end: float
    pids: Collection[int] = ()
    crews: Collection[str] = ()
    watchers: Collection[str] = ()

    def befalls(self, run: Run, begin: float, end: float) -> bool:
        """Tell whether it hit the process of a run, or its way to the server, in that time."""
        return self.begin <= end and begin <= self.end and self._has(run)

    def _has(self, run: Run) -> bool:
        return run.pid in self.pids or run.worker in self.pids or run.crew in self.crews


NO_TIME = "no time from the machine"
"""What befalls a process that does not run for long, and not because its own code keeps it."""

AS_ONE = 0.3
"""Seconds between two stalls of a process in which it need not have come to renew its lease, which it does each third
of a second: they are as bad as one."""

ITS_OWN = 0.5
"""Part of a stall in which the process has computed, from which on it was itself that kept its threads from running."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody was told of a call's end."""

    by: str
    at: float
    status: str
    value: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Somebody was told that nobody knows a call."""

    id: str
    by: str
    at: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to a cancel."""

    at: float
    took_effect: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """The answer to a reschedule, and when it was asked."""

    since: float
    at: float
    took_effect: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """What was told of a call that was not published: another one has its key. `since`: when that was asked."""

    owner: str
    since: float
    at: float


@dataclass(slots=True)
class History:
    """Everything that was noted.

    Attributes:
        calls: what was to be published, by id.
        waiters: who waited for the calls of others, for all of them.
        is_file: all have one file, which whoever is frozen in a transaction locks.
        is_late: a call is known a while after it was confirmed.
        accepted: who published a call, and had it confirmed.
        accepted_at: when that was.
        merged: calls that were not published, for another had their key.
        cancelling: when it was first tried to cancel a call.
        stalls: when processes did not get to run; what they do comes later.
        idle: those of them in which a process has not computed: nothing that it did kept it from running. Those that
            followed each other at once are one.
    """

    calls: Mapping[str, Call]
    waiters: Sequence[str]
    is_file: bool = False
    is_late: bool = False
    accepted: dict[str, str] = field(default_factory=dict)
    accepted_at: dict[str, float] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    merged: dict[str, Merged] = field(default_factory=dict)
    cancelling: dict[str, float] = field(default_factory=dict)
    cancelled: dict[str, Cancelled] = field(default_factory=dict)
    moved: dict[str, Moved] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    stalls: list[Hit] = field(default_factory=list)
    idle: list[Hit] = field(default_factory=list)

    def take_runs(self, entries: Iterable[Entry]) -> None:
        """Take what the tasks, and the processes in which they run, wrote."""
        by_name: dict[str, Run] = {}
        for entry in entries:
            if entry["what"] == "start":
                run = Run(entry["id"], entry["run"], entry["pid"], entry["crew"], entry["attempt"], entry["at"])
                run.worker = entry["worker"]
                by_name[run.name] = run
                self.runs[run.id].append(run)
            elif entry["what"] == "stall":
                self.stalls.append(Hit("stall", entry["begin"], entry["at"], [entry["pid"]]))
                if entry["used"] < ITS_OWN * (entry["at"] - entry["begin"]):
                    self._take_idle(entry["pid"], entry["begin"], entry["at"])
            else:
                by_name[entry["run"]].end = entry["at"]
                by_name[entry["run"]].how = entry["how"]

    def _take_idle(self, pid: int, begin: float, end: float) -> None:
        before = next((hit for hit in reversed(self.idle) if pid in hit.pids), None)
        if before is not None and begin - before.end < AS_ONE:
            self.idle.remove(before)
            begin = before.begin
        self.idle.append(Hit(NO_TIME, begin, end, [pid]))

    def take_faults(self, entries: Iterable[Entry]) -> None:
        """Take what the driver wrote at the end of each fault."""
        for entry in entries:
            self.hits.append(
                Hit(entry["kind"], entry["begin"], entry["at"], entry["pids"], entry["crews"], entry["watchers"])
            )

    def take_watcher(self, by: str, entries: Iterable[Entry]) -> None:
        """Take what a producer or a waiter wrote."""
        for entry in entries:
            id = entry["id"]
            match entry["what"]:
                case "accepted":
                    self.accepted[id] = by
                    self.accepted_at[id] = entry["at"]
                    if entry["owner"] != id:
                        self.merged[id] = Merged(entry["owner"], entry["since"], entry["at"])
                case "seen":
                    self.seen[id].append(Seen(by, entry["at"], entry["status"], entry["value"]))
                case "cancelling":
                    self.cancelling.setdefault(id, entry["at"])
                case "moved":
                    self.moved[id] = Moved(entry["since"], entry["at"], entry["took_effect"])
                case "cancelled":
                    self.cancelled[id] = Cancelled(entry["at"], entry["took_effect"])
                case "missing":
                    self.missing.append(Missing(id, by, entry["at"], entry["error"]))
                case _:
                    pass
