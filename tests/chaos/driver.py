"""The driver: starts the crew, has the faults happen, waits for the end, and has everything checked."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncq import AsyncqError
from tests.chaos.calls import calls_of, kinds_for
from tests.chaos.crew import Member
from tests.chaos.explanations import MAX_BLOCK
from tests.chaos.faults import OF_PROCESSES, Fault, FaultKind, plan
from tests.chaos.history import History
from tests.chaos.journal import Journal, JournalReader
from tests.chaos.judging import Report, judge
from tests.chaos.site import Site
from tests.chaos.sites import site_of
from tests.chaos.ticks import NAME as TICKS
from tests.chaos.ticks import TICK, Ticks

START_UP = 3.0
"""Seconds from the start of the processes until the first call and the first fault may come."""

POLL = 0.1
DUMP_TIMEOUT = 5.0

KILLED = -signal.SIGKILL
WORKERS_END = {0, KILLED, -signal.SIGTERM, 33, 70}
"""Exit codes of workers: in order, killed, stopped before they were up, by a task, and with a loop blocked too long."""

PRODUCERS_END = {0, KILLED, 3, -signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class Settings:
    """A run.

    Attributes:
        broker: one of `KINDS`.
        tasks, faults: how many.
        seed: what all else follows from.
        seconds: over which they are spread.
        processes: of each worker; with more than one it is a supervisor.
        patience: seconds that everything may take to end after that.
    """

    broker: str
    tasks: int
    faults: int
    seed: int
    seconds: float
    processes: int = 1
    workers: int = 3
    producers: int = 2
    patience: float = 60

    def __str__(self) -> str:
        return (
            f"--broker {self.broker} --tasks {self.tasks} --faults {self.faults} --seconds {self.seconds:g} "
            f"--processes {self.processes} --seed {self.seed}"
        )


async def run(settings: Settings, folder: Path) -> Report:
    """Have a run in an empty folder, which holds the journals and logs afterwards."""
    (folder / "misbehaved").mkdir()
    with site_of(settings.broker, folder) as site:
        await site.prepare()
        return await Driver(settings, folder, site).run()


class Driver:
    """One run."""

    def __init__(self, settings: Settings, folder: Path, site: Site) -> None:
        self._settings = settings
        self._folder = folder
        self._site = site
        self._plan = plan(settings.seed, settings.faults, settings.seconds, settings.broker)
        self._can = site.broker().capabilities
        self._calls = {call.id: call for call in calls_of(settings.seed, settings.tasks, kinds_for(self._can))}
        self._begin = time.monotonic() + START_UP
        self._ticks = Ticks(self._begin, int(settings.seconds / TICK) if self._can.has_schedules else 0)
        self._calls |= self._ticks.calls
        self._ways: dict[str, int] = {}
        names = [f"producer-{number}" for number in range(settings.producers)]
        self._producers = [self._producer(name, number) for number, name in enumerate(names)]
        self._waiters = [self._waiter("waiter-0", [*names, TICKS])]
        self._workers = [self._worker(number) for number in range(settings.workers)]
        self._journal = Journal(folder / "faults")
        self._wrong: list[str] = []

    async def run(self) -> Report:
        """Have it all."""
        await self._ticks.begin(self._site, self._folder)
        async with asyncio.TaskGroup() as crew:
            members = [crew.create_task(member.run()) for member in self._crew]
            try:
                async with asyncio.timeout(START_UP + self._settings.seconds + self._settings.patience):
                    await self._have_faults()
                    await self._wait("all waiters have seen all calls", self._is_seen)
                    await self._wait("the queue is empty", self._is_empty)
                    await self._wait("the server's queues are empty", self._site.is_drained)
                    await self._wait("the dead workers are forgotten", self._is_clean)
            except TimeoutError:
                late = f"Not ended {self._settings.patience:g} s after the last fault."
                self._wrong.append(f"{late} {await self._open_ends()}")
            for member in self._crew:
                member.stop()
            _, late = await asyncio.wait(members, timeout=20)
            if late:
                self._wrong.append(f"These did not stop in order: {[m.name for m in self._crew if m.pids()]}")
            for member in members:
                member.cancel()
        wrong = [*self._wrong, *(end for member in self._crew for end in member.wrong_ends)]
        return await judge(self._plan, self._history(), self._site, wrong)

    # The crew

    @property
    def _crew(self) -> list[Member]:
        return [*self._workers, *self._producers, *self._waiters]

    def _worker(self, number: int) -> Member:
        scheduler = " --scheduler" if self._can.has_schedules else ""
        options = (
            f"--lease 1 --concurrency 40 --shutdown-timeout 1 --max-block {MAX_BLOCK:g} "
            f"--processes {self._settings.processes} --pool-processes 1{scheduler}"
        )
        return Member(
            f"worker-{number}",
            ["-m", "asyncq", "worker", "tests.chaos.app:broker", *options.split()],
            self._folder,
            self._variables(f"worker-{number}", number),
            may_end=WORKERS_END.__contains__,
            is_endless=True,
            is_supervisor=self._settings.processes > 1,
        )

    def _producer(self, name: str, number: int) -> Member:
        settings = self._settings
        share = [name, settings.seed, settings.tasks, number, settings.producers, self._begin, settings.seconds]
        return Member(
            name,
            ["-m", "tests.chaos.producer", *map(str, share)],
            self._folder,
            self._variables(name, number + 1),
            may_end=PRODUCERS_END.__contains__,
        )

    def _waiter(self, name: str, producers: Sequence[str]) -> Member:
        return Member(
            name,
            ["-m", "tests.chaos.waiter", name, str(len(self._calls)), *producers],
            self._folder,
            self._variables(name, 0),
            may_end=PRODUCERS_END.__contains__,
        )

    def _variables(self, name: str, number: int) -> dict[str, str]:
        self._ways[name] = number
        return {**self._site.variables_of(number), "CHAOS_FOLDER": str(self._folder), "CHAOS_CREW": name}

    # Faults

    async def _have_faults(self) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in self._plan:
                await asyncio.sleep(max(0, self._begin + fault.at - time.monotonic()))  # the plan says when
                group.create_task(self._have(fault))

    async def _have(self, fault: Fault) -> None:
        if fault.kind in OF_PROCESSES:
            begin = time.monotonic()
            member = self._targets(fault.kind)[fault.target % len(self._targets(fault.kind))]
            self._note(fault, begin, await self._have_process(fault, member), [member])
            return
        async with self._site.turn_of(fault):
            begin = time.monotonic()
            await self._site.suffer(fault)
            hit = [member for member in self._crew if self._site.is_hit(fault, self._ways[member.name])]
            self._note(fault, begin, (), hit)

    def _note(self, fault: Fault, begin: float, pids: Sequence[int], hit: Sequence[Member]) -> None:
        crews = [member.name for member in hit if member in self._workers and not pids]
        watchers = [member.name for member in hit if member not in self._workers]
        self._journal.write("fault", kind=fault.kind, begin=begin, pids=list(pids), crews=crews, watchers=watchers)

    async def _have_process(self, fault: Fault, member: Member) -> Sequence[int]:
        """Send its signal to whom it is for; return the processes that suffer of it, once it is over."""
        pids = member.pids()
        if not pids:  # it is just being started again, or has finished
            return ()
        victims = victims_of(fault, pids)
        suffering = pids if pids[0] in victims else victims
        match fault.kind:
            case FaultKind.FREEZE_WORKER | FaultKind.FREEZE_PRODUCER:
                member.signal(signal.SIGSTOP, victims)
                await asyncio.sleep(fault.seconds)  # the frost itself
                member.signal(signal.SIGCONT, victims)
            case FaultKind.STOP_WORKER | FaultKind.STOP_PRODUCER:
                member.signal(signal.SIGTERM, victims)
                await self._wait("SIGTERM ends a process", lambda: not set(suffering) & set(member.pids()))
            case _:
                member.signal(signal.SIGKILL, victims)
                await self._wait("SIGKILL ends a process", lambda: not set(suffering) & set(member.pids()))
        return suffering

    def _targets(self, kind: FaultKind) -> Sequence[Member]:
        match kind:
            case FaultKind.KILL_PRODUCER | FaultKind.FREEZE_PRODUCER | FaultKind.STOP_PRODUCER:
                return self._producers
            case FaultKind.KILL_WAITER:
                return self._waiters
            case _:
                return self._workers

    # The end

    def _is_seen(self) -> bool:
        return all(member.is_done.is_set() for member in (*self._producers, *self._waiters))

    async def _is_empty(self) -> bool:
        async with self._site.broker() as broker:
            [counts] = await (await broker.open()).transport.counts(["default"])
        return not any(counts._replace(dead=0))

    async def _is_clean(self) -> bool:
        return await self._site.consumers() <= len(self._workers) * self._settings.processes

    async def _wait(self, what: str, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        """Wait for a condition, and note while it is waited for."""
        self._waiting_for = what
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(POLL)  # between two looks

    _waiting_for = "the last fault is over"

    async def _open_ends(self) -> str:
        """Return what hangs: what was waited for, what the queue holds, and the ends of all logs."""
        try:
            async with asyncio.timeout(DUMP_TIMEOUT), self._site.broker() as broker:
                [counts] = await (await broker.open()).transport.counts(["default"])
                left = await self._site.left_behind()
        except (TimeoutError, AsyncqError) as error:
            counts, left = error, "?"
        logs = [f"== {member.name}, pids {member.pids()}\n{member.tail()}" for member in self._crew]
        return "\n".join([f"Waiting until {self._waiting_for}; the queue: {counts}; left: {left}.", *logs])

    def _history(self) -> History:
        is_file = self._settings.broker.endswith("sqlite")
        is_late = self._settings.broker.startswith("rabbitmq")
        history = History(self._calls, [waiter.name for waiter in self._waiters], is_file, is_late)
        history.take_faults(JournalReader(self._folder / "faults").read())
        history.take_runs(JournalReader(self._folder / "runs").read())
        for name in (TICKS, *(member.name for member in (*self._producers, *self._waiters))):
            history.take_watcher(name, JournalReader(self._folder / name).read())
        return history


def victims_of(fault: Fault, pids: Sequence[int]) -> Sequence[int]:
    """Return which of a member's processes a fault hits: the only one, or a child, or a supervisor or all of them."""
    own, *children = pids
    if not children:
        return pids
    if not fault.is_rough:
        return [children[fault.target % len(children)]]
    return pids if fault.kind is FaultKind.FREEZE_WORKER else [own]
