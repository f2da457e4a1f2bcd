"""The explanations: which fault is to blame for a run of which nothing came.

Each looks for its causes between two moments, the narrowest that can be known: when the call was fetched, and when its
end had reached the server, or another run had been given out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import inf

from tests.chaos.calls import CHILD, DEADLY, STARTED_LATE, Call, Kind
from tests.chaos.faults import FaultKind
from tests.chaos.history import NO_TIME, History, Hit, Missing, Run

UNEXPLAINED = "unexplained"

LEASE = 1.0
"""Seconds after which a silent worker of the crew is taken for dead."""

LEASE_LEFT = 0.6
"""Seconds of a lease that are left at any moment, at the least: it is renewed each third of it, on a slow way."""

STARTING = 0.5
"""Seconds from when a call is fetched, or is told to be cancelled, until it starts, or does not any more."""

SETTLING = 0.5
"""Seconds from a run's end until that is settled."""

CONFIRMING = 2.0
"""Seconds more on RabbitMQ where something has to be published first, a retry or a letter: in which it has to confirm
that, on a machine that is busy with others. It is tried again only then."""

BACKOFF = 2.0
"""Seconds after a disturbance in which nothing may get through: who has met it tries again each 2 s, or sooner."""

DOUBT = 2.0
"""Seconds, two leases, that a verdict of poison waits for those who were only taken for dead."""

BACK = 0.5
"""Seconds in which who was taken for dead learns of that, and says that it is not."""

ANSWERING = 0.5
"""Seconds that an answer may be on its way, and so be out of date."""

NOTING = 0.5
"""Seconds from when a call is confirmed until it is known, where that comes after."""

NOTING_AGAIN = 5.0
"""Seconds after a disturbance in which its publisher may not have tried again to make it known."""

MAX_BLOCK = 4.0
"""Seconds that the workers' loops may be blocked; then the process ends."""

ENDING = 1.0
"""Seconds that the end of a process whose loop is blocked may take: the heartbeat's look, and the dump of its stack."""

TURN = 0.1
"""Seconds between two tasks that block one loop in which it gets no turn: both were started in the same one."""

TOO_LONG = "block the loop, one after the other"
"""What tasks do that are harmless by themselves: together they block it for longer than it may be."""

MORTAL = {FaultKind.KILL_WORKER, TOO_LONG, *DEADLY}
"""What ends a process, and in no order."""

SILENT = {FaultKind.FREEZE_WORKER, FaultKind.REFUSE, FaultKind.DELAY, FaultKind.BLACKHOLE, NO_TIME, Kind.HOG}
"""What silences some workers, so that the others take over from them, once it lasts."""

SILENT_FOR_ALL = {FaultKind.FREEZE_SERVER, FaultKind.DEBUG_SLEEP, FaultKind.FREEZE_WRITER}
"""What silences everybody, so that leases run out before they can be renewed, once it lasts longer than they do."""


class Explanations:
    """Finds the fault for which a run's end took no effect: the nearest to it first, its own process."""

    def __init__(self, history: History) -> None:
        self._runs: Mapping[str, Sequence[Run]] = history.runs
        self._accepted_at = history.accepted_at
        self._publishers = history.accepted
        self._is_late = history.is_late
        stalls = filter(costs_calls, [*history.idle, *stalls_by_hogs(history)])
        self._hits = [*history.hits, *deaths_by_tasks(history), *deaths_by_blocks(history), *stalls]
        self._blocks = sorted([*blocks_by_tasks(history), *history.stalls], key=lambda hit: hit.begin)
        blocking = _runs_of(history, {Kind.BLOCKS, Kind.STUCK})
        self._died_blocked = {run.pid for _, run in blocking if not run.how}
        met = [*self._hits, *locks_by_the_frozen(history)]
        self._hits_by_begin = sorted(self._hits, key=lambda hit: hit.begin, reverse=True)
        # RabbitMQ may have ended the connection of a loop that was blocked.
        after_block = BACKOFF if history.is_late else 0
        blocks = [replace(hit, end=hit.end + after_block) for hit in self._blocks]
        blocks += locks_by_the_idle(history)
        disturbances = [*blocks, *(replace(hit, end=hit.end + BACKOFF) for hit in met)]
        self._disturbances = sorted(disturbances, key=lambda hit: hit.begin)

    def of(self, run: Run) -> str:
        """Return the kind of fault that explains it, or that none does."""
        hits, end = self._costing(run), self._settled(run)
        if not hits:
            return UNEXPLAINED
        return min(hits, key=lambda hit: _distance(hit, run, end)).kind

    def lost_at(self, run: Run) -> float:
        """Return when a fault may have taken a run from its worker, at the earliest; infinite: none can have."""
        return min((hit.begin for hit in self._costing(run)), default=inf)

    def fetched_at(self, run: Run) -> float:
        """Return when it was given out, at the earliest: a fault may have kept it on its way to its worker, too."""
        begin = self._fetched(run)
        for hit in self._hits_by_begin:
            if hit.befalls(run, begin, run.begin):
                begin = min(begin, hit.begin - STARTING)
        return begin

    def deaths_of(self, call: Call, end: float = inf) -> int:
        """Return how many processes died that had a call, or were silent for too long, before its end was seen.

        Its runs tell of them. Nobody has seen a run where it was fetched and could not start yet: its worker's loop was
        blocked when that died, or a process of the pool or a thread was waited for. Or the answer to a fetch was on its
        way to a worker when that died: a matter of milliseconds, and so not twice to one call. Who awaits another call
        fails with it.
        """
        child = self._deaths(call.id + CHILD, Kind.QUICK, end) if call.kind is Kind.NESTED else 0
        return max(child, self._deaths(call.id, call.kind, end))

    def may_be_unknown(self, missing: Missing) -> bool:
        """Tell whether a call that was confirmed may not be known yet: nobody has run it, and little time has passed.

        A publisher that died is not to make it known any more: whoever runs it does.
        """
        publisher, accepted_at = self._publishers[missing.id], self._accepted_at[missing.id]
        if any(run.begin < missing.at - ANSWERING for run in self._runs.get(missing.id, ())):
            return False
        through = accepted_at + NOTING
        for hit in self._hits:
            if publisher in hit.watchers and hit.begin <= through and accepted_at - NOTING_AGAIN <= hit.end:
                through = inf if hit.pids else max(through, hit.end + NOTING_AGAIN)
        return missing.at <= through

    def _deaths(self, id: str, kind: Kind, end: float) -> int:
        deaths = [hit for hit in self._hits if hit.kind in MORTAL or is_as_good_as_dead(hit)]
        runs = self._runs.get(id, ())
        dead = {run.pid for run in runs if any(hit.befalls(run, run.begin, self._settled(run)) for hit in deaths)}
        begin = self._accepted_at.get(id, min((run.begin for run in runs), default=inf))  # a child is its parent's
        hits = [hit for hit in deaths if begin <= hit.end and hit.begin <= end]
        others: set[object] = {who for hit in hits for who in (hit.pids or hit.crews)}
        others -= {pid for run in runs for pid in (run.pid, run.worker)}
        fetched = others if kind in STARTED_LATE else others & self._died_blocked
        return len(dead) + len(fetched) + min(1, len(others - fetched))

    def told(self, run: Run, at: float) -> float:
        """Return until when a run's worker may not know what the server was told, and start it."""
        return self._undisturbed(run, at, STARTING)

    def _costing(self, run: Run) -> list[Hit]:
        begin, end = self._fetched(run), self._settled(run)
        return [hit for hit in self._hits if costs_calls(hit) and hit.befalls(run, begin, end)]

    def _fetched(self, run: Run) -> float:
        """Return when it was fetched, at the earliest: before what blocked its loop, one after the other.

        A worker that was taken for dead, and wakes, starts what it had fetched before it hears of that.
        """
        begin = run.begin - STARTING
        for hit in reversed(self._blocks):
            if hit.befalls(run, begin, run.begin):
                begin = min(begin, hit.begin - STARTING)
        return begin

    def _settled(self, run: Run) -> float:
        """Return when its end had reached the server, or another run of it had been given out, at the latest."""
        later = [
            other.begin
            for other in self._runs[run.id]
            if other.begin > run.begin and other.attempt == run.attempt and not self._was_fetched_before(other, run)
        ]
        is_published = self._is_late and run.how not in ("", "returned")
        seconds = SETTLING + (CONFIRMING if is_published else 0)
        return min(self._undisturbed(run, run.end, seconds), min(later, default=inf))

    def _was_fetched_before(self, other: Run, run: Run) -> bool:
        """Tell whether a run may have been given out before an earlier one: its process woke, and started it late."""
        fetched = self._fetched(other)
        return fetched < other.begin - STARTING and fetched < run.begin

    def _undisturbed(self, run: Run, at: float, seconds: float) -> float:
        """Return when something had the time to get through between a run's process and the server."""
        through = at + seconds
        for hit in self._disturbances:
            if hit.befalls(run, at, through):
                through = max(through, hit.end + seconds)
        return through


def _distance(hit: Hit, run: Run, end: float) -> tuple[object, ...]:
    """Return how far a fault is from a run: one of the plan goes first, then its process's own, then the nearest."""
    return hit.kind == NO_TIME, not hit.pids, hit.end < run.begin, max(hit.begin - end, 0), -hit.end


def costs_calls(hit: Hit) -> bool:
    """Tell whether a fault ends runs, or takes them from their workers; what passes sooner than a lease does not."""
    if hit.kind in SILENT:
        return hit.end - hit.begin >= LEASE_LEFT
    if hit.kind in SILENT_FOR_ALL:  # a takeover that was on its way sees them all expired
        return hit.end - hit.begin >= LEASE
    return hit.kind in MORTAL or hit.kind == FaultKind.STOP_WORKER


def is_as_good_as_dead(hit: Hit) -> bool:
    """Tell whether a fault silences a process for so long that a verdict does not wait for its word."""
    return hit.kind in SILENT and hit.end - hit.begin >= LEASE_LEFT + DOUBT - BACK


def deaths_by_tasks(history: History) -> Iterator[Hit]:
    """Yield the ends of processes that tasks brought about, which are faults to all that ran beside them.

    They come later than their tasks wanted where others blocked the loop: not before the last that the process noted.
    """
    signs: dict[int, float] = {}
    for run in chain.from_iterable(history.runs.values()):
        signs[run.pid] = max(signs.get(run.pid, 0), run.begin, run.end if run.how else 0)
    for call, run in _runs_of(history, DEADLY):
        if not run.how:
            begin = run.begin + call.seconds
            end = begin + (MAX_BLOCK + ENDING if call.kind is Kind.STUCK else 0)
            yield Hit(call.kind, begin, max(end, signs[run.pid]), [run.pid])


def deaths_by_blocks(history: History) -> Iterator[Hit]:
    """Yield the ends of processes in which several tasks have blocked the loop, with no turn for it between them."""
    begins: dict[int, tuple[float, float]] = {}
    for call, run in sorted(_runs_of(history, {Kind.BLOCKS}), key=lambda each: each[1].begin):
        begin, end = begins.get(run.pid, (run.begin, run.begin))
        begin = begin if run.begin - end <= TURN else run.begin
        begins[run.pid] = begin, run.end
        if not run.how and run.begin + call.seconds > begin + MAX_BLOCK:
            yield Hit(TOO_LONG, begin + MAX_BLOCK, begin + MAX_BLOCK + ENDING, [run.pid])


def locks_by_the_frozen(history: History) -> Iterator[Hit]:
    """Yield when a file may have been locked, to all, because a worker or a producer was frozen in a transaction."""
    if history.is_file:
        crews = {run.crew for run in chain.from_iterable(history.runs.values())}
        for hit in history.hits:
            if hit.kind in (FaultKind.FREEZE_WORKER, FaultKind.FREEZE_PRODUCER):
                yield Hit(FaultKind.FREEZE_WRITER, hit.begin, hit.end, crews=crews)


def locks_by_the_idle(history: History) -> Iterator[Hit]:
    """Yield when a file may have been locked, to all, because the machine gave a process no time in a transaction."""
    if history.is_file:
        crews = {run.crew for run in chain.from_iterable(history.runs.values())}
        for hit in history.idle:
            yield Hit(FaultKind.FREEZE_WRITER, hit.begin, hit.end, crews=crews)


def stalls_by_hogs(history: History) -> Iterator[Hit]:
    """Yield when a process stood still in which a task took all memory: while it does, no other thread may run."""
    for call, run in _runs_of(history, {Kind.HOG}):
        for stall in history.stalls:
            if stall.befalls(run, run.begin, run.end):
                yield Hit(call.kind, stall.begin, stall.end, [run.pid])


def blocks_by_tasks(history: History) -> Iterator[Hit]:
    """Yield when tasks blocked the loops of their workers."""
    for call, run in _runs_of(history, {Kind.BLOCKS}):
        yield Hit(call.kind, run.begin, min(run.end, run.begin + MAX_BLOCK), [run.pid])


def _runs_of(history: History, kinds: Collection[Kind]) -> Iterator[tuple[Call, Run]]:
    for id, runs in history.runs.items():
        if (call := history.calls.get(id)) is not None and call.kind in kinds:
            yield from ((call, run) for run in runs)
