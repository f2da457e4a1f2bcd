"""The bounds: what limits, unique keys and other times allow, and whether a history has kept to them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from asyncq import Status
from tests.chaos.calls import AGAIN, PER, RATED, SLOTS, SLOTTED, TURNS, UNIQUE, Kind
from tests.chaos.explanations import Explanations
from tests.chaos.history import History, Run

EARLY = 0.1
"""Seconds by which a call may run before its time: publishers know the server's clock by half a round trip."""

CANCELLED = "cancelled, and not told yet"
"""What lets a run go on that has no slot any more, and is no fault."""


@dataclass(slots=True)
class Bounds:
    """What was found.

    Attributes:
        wrong: each bound that was not kept, in a sentence.
        slotted, rated: runs that needed a slot, or a turn.
        beside: runs that were beside as many as there are slots, by what had taken the slot of one of those from it.
        merged: calls that were not published, because another one had their key.
        moved: calls that were given another time.
    """

    wrong: list[str] = field(default_factory=list)
    slotted: int = 0
    beside: Counter[str] = field(default_factory=Counter)
    rated: int = 0
    merged: int = 0
    moved: int = 0


def check_bounds(history: History, explanations: Explanations) -> Bounds:
    """Check all of them."""
    bounds = Bounds(merged=len(history.merged), moved=sum(each.took_effect for each in history.moved.values()))
    for key, runs in _runs_by_key(history, SLOTTED).items():
        bounds.slotted += len(runs)
        _check_slots(key, runs, history, explanations, bounds)
    for key, runs in _runs_by_key(history, RATED).items():
        bounds.rated += len(runs)
        bounds.wrong += over_turns(key, runs, explanations)
    bounds.wrong += _keys_kept_too_long(history)
    bounds.wrong += _two_of_a_key(history)
    bounds.wrong += _before_their_time(history, explanations)
    return bounds


def _runs_by_key(history: History, kinds: Collection[Kind]) -> Mapping[str, Sequence[Run]]:
    found: dict[str, list[Run]] = defaultdict(list)
    for id, runs in history.runs.items():
        call = history.calls.get(id)
        if call is not None and call.kind in kinds:
            found[call.key] += runs
    return {key: sorted(runs, key=lambda run: run.begin) for key, runs in found.items()}


def _check_slots(key: str, runs: Sequence[Run], history: History, explanations: Explanations, bounds: Bounds) -> None:
    """A slot is a lending: who has lost that, by a fault or a cancel, may run on, and the next one beside it."""
    lost = {run.name: _lost_at(run, history, explanations) for run in runs}
    there: list[Run] = []
    for run in runs:
        there = [each for each in there if _goes_on(each, run.begin, lost[each.name])]
        there.append(run)
        without = [each for each in there if lost[each.name] <= run.begin]
        if len(there) - len(without) > SLOTS:
            bounds.wrong.append(f"More than {SLOTS} runs had slots of {key!r} at {run.begin:.3f}: {there}")
        elif len(there) > SLOTS:
            first = min(without, key=lambda each: lost[each.name])
            is_cancelled = history.cancelling.get(first.id, inf) <= run.begin
            bounds.beside[CANCELLED if is_cancelled else explanations.of(first)] += 1


def _lost_at(run: Run, history: History, explanations: Explanations) -> float:
    """Return when a run may have lost its slot, at the earliest: never, if its value is the call's."""
    if any(seen.value == run.name for seen in history.seen.get(run.id, ())):
        return inf
    return min(explanations.lost_at(run), history.cancelling.get(run.id, inf))


def _goes_on(run: Run, at: float, lost_at: float) -> bool:
    """Tell whether a run was still there: one without an end is taken to have died when it was lost."""
    return (run.end if run.how else lost_at) > at


def over_turns(key: str, runs: Sequence[Run], explanations: Explanations) -> Iterator[str]:
    """Yield where more runs have started than any grants would have allowed.

    Nobody has written down the grants. Each came between when its run was given out, at the earliest, and its begin: so
    of those for which that lies within any time there are no more than the turns of that time.
    """
    spans = sorted((run.begin, explanations.fetched_at(run)) for run in runs)
    for since in sorted({fetched for _, fetched in spans}):
        begins = [begin for begin, fetched in spans if fetched >= since]
        for count, begin in enumerate(begins, 1):
            if count > TURNS * (int((begin - since) / PER) + 1):
                yield f"{count} runs of {key!r} had turns from {since:.3f} on: {[round(each, 3) for each in begins]}"
                return


def _keys_kept_too_long(history: History) -> Iterator[str]:
    for id, merged in history.merged.items():
        if history.runs.get(id):
            yield f"{id} has run, though {merged.owner} had its key: {merged}; runs: {history.runs[id]}"
        owner = history.calls.get(merged.owner)
        if owner is None or owner.key != history.calls[id].key:
            yield f"{id} was told that {merged.owner} has its key, which has another: {owner}"
        ended_at = min((seen.at for seen in history.seen.get(merged.owner, ())), default=inf)
        if ended_at < merged.since:
            yield f"{id} was told that {merged.owner} has its key, which had ended at {ended_at:.3f}: {merged}"


def _two_of_a_key(history: History) -> Iterator[str]:
    """Yield what has run before the end of another call of its key: by the run of each whose value was seen."""
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for id, seen in history.seen.items():
        call = history.calls.get(id)
        if call is None or call.kind not in UNIQUE:
            continue
        values = {each.value for each in seen if each.status == Status.SUCCEEDED}
        runs = history.runs.get(id, [])
        for run in runs:
            if run.name in values:
                spans[call.key].append((min(each.begin for each in runs), run.end, id))
    for key, some in spans.items():
        some.sort()
        for (_, end, first), (begin, _, second) in pairwise(some):
            if begin < end:
                both = [history.runs[id] for id in (first, second)]
                yield f"{second} has begun before the end of {first}, which has the same key {key!r}: {both}"


def _before_their_time(history: History, explanations: Explanations) -> Iterator[str]:
    for id, moved in history.moved.items():
        if moved.took_effect:
            due = moved.since + AGAIN - EARLY
            for run in history.runs.get(id, ()):
                if explanations.fetched_at(run) > moved.at and run.begin < due:
                    yield f"{id} was to run {AGAIN} s after {moved.since:.3f} at the earliest: {run}"
