"""The checker: what a history has to be like, whatever befell those who made it."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from asyncq import Status
from tests.chaos.bounds import Bounds, check_bounds
from tests.chaos.calls import CHILD, Call, Kind
from tests.chaos.explanations import SILENT_FOR_ALL, UNEXPLAINED, Explanations
from tests.chaos.history import History, Run, Seen
from tests.chaos.ticks import NAME as TICKS

MAX_CRASHES = 3

POISONED = "processes have died"


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        wrong: each claim that does not hold, in a sentence; the first few of a kind say enough.
        repeats: runs beyond the first of an attempt, by what explains them.
        poisoned: calls that were buried because their processes died.
        condemned: those among them that were innocent, and ran in three processes that died.
        lost: calls that somebody waited for in vain.
        unknown: times that nobody knew a call yet, and a fault explains that.
        bounds: what became of limits, unique keys and other times.
    """

    wrong: list[str] = field(default_factory=list)
    repeats: Counter[str] = field(default_factory=Counter)
    poisoned: int = 0
    condemned: int = 0
    lost: int = 0
    unknown: int = 0
    bounds: Bounds = field(default_factory=Bounds)


def check(history: History) -> Verdict:
    """Check everything that the journals can tell."""
    explanations = Explanations(history)
    verdict = Verdict(unknown=len(history.missing))
    for missing in history.missing:
        if not history.is_late or not explanations.may_be_unknown(missing):
            verdict.wrong.append(f"Told that there is no result: {missing}; runs: {history.runs.get(missing.id)}")
    for id in history.calls:
        if id not in history.accepted:
            verdict.wrong.append(f"{id} was never confirmed.")
        elif id not in history.merged:
            _check_end(history, id, verdict, explanations)
    for id, runs in history.runs.items():
        verdict.wrong += attempts_out_of_turn(id, runs)
        for why, run in repeats_of(runs, history.seen.get(id, ()), explanations):
            verdict.repeats[why] += 1
            if why == UNEXPLAINED:
                verdict.wrong.append(f"No fault explains that this was not the only run: {run}; all of them: {runs}")
        verdict.wrong += _runs_after_a_cancel(history, id, explanations)
    verdict.bounds = check_bounds(history, explanations)
    verdict.wrong += verdict.bounds.wrong
    return verdict


def check_letters(history: History, letters: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the dead letters: they are of calls that failed, and of children taken for poison."""
    failed = {id for id, seen in history.seen.items() if seen[0].status == Status.FAILED}
    explanations = Explanations(history)
    for id in failed.difference(letters):
        yield f"{id} failed for good, and has no dead letter."
    for id in set(letters) - failed:
        if not id.endswith(CHILD) or explanations.deaths_of(Call(id, Kind.QUICK, 0, 0, 0)) < MAX_CRASHES:
            yield f"{id} has a dead letter, and was not seen to fail. Its runs: {history.runs.get(id)}"


def _check_end(history: History, id: str, verdict: Verdict, explanations: Explanations) -> None:
    call, seen, runs = history.calls[id], history.seen.get(id, []), history.runs.get(id, [])
    if blind := {history.accepted[id], *history.waiters} - {TICKS, *(each.by for each in seen)}:
        verdict.lost += 1
        verdict.wrong.append(f"{call} was not seen to end by {', '.join(sorted(blind))}. Its runs: {runs}")
    ends = {(each.status, each.value) for each in seen}
    if len(ends) > 1:
        verdict.wrong.append(f"{id} was seen to end in {len(ends)} ways: {sorted(ends)}. Its runs: {runs}")
    for status, value in ends:
        is_poisoned = POISONED in value
        verdict.poisoned += is_poisoned
        if is_poisoned and call.kind is not Kind.POISON:
            verdict.condemned += 1
        if is_poisoned and explanations.deaths_of(call, min(each.at for each in seen)) < MAX_CRASHES:
            verdict.wrong.append(f"{id} was taken for poison, but its runs were {runs}")
        elif status not in call.ends and not is_poisoned:
            verdict.wrong.append(f"{call} ended as {status}: {value}")
        if status == Status.SUCCEEDED and value not in {run.name for run in runs if run.how == "returned"}:
            verdict.wrong.append(f"{id} has the value of a run that did not return: {value}. Its runs: {runs}")
        if call.kind is Kind.POISON and not is_poisoned:
            verdict.wrong.append(f"{id} is poison, and ended as {status}: {value}")
        verdict.wrong += _cancel_and_end(history, id, status)


def _cancel_and_end(history: History, id: str, status: str) -> Iterator[str]:
    cancelled = history.cancelled.get(id)
    if cancelled is not None and cancelled.took_effect != (status == Status.CANCELLED):
        yield f"cancel() of {id} said {cancelled.took_effect}, and it ended as {status}."


def attempts_out_of_turn(id: str, runs: Sequence[Run]) -> Iterator[str]:
    """Yield what is wrong with the attempts of a call: each but the first follows from the failure of another."""
    failed = {run.attempt for run in runs if run.how not in ("", "returned")}
    for attempt in {run.attempt for run in runs} - {1}:
        if attempt - 1 not in failed:
            yield f"{id} was tried a time {attempt}, but the one before had not failed: {runs}"


def repeats_of(runs: Sequence[Run], seen: Sequence[Seen], explanations: Explanations) -> Iterator[tuple[str, Run]]:
    """Yield the runs of a call of which nothing came, though nothing was wrong with the task, and what explains each.

    Each attempt has one run of which something came: the one whose value was seen, else one that no fault has hit, or
    none of its own. A snooze is one more.
    """
    values = {each.value for each in seen}
    for attempt in {run.attempt for run in runs}:
        same = [(explanations.of(run), run) for run in runs if run.attempt == attempt]
        same.sort(key=lambda each: (each[1].name in values, each[0] == UNEXPLAINED, each[0] in SILENT_FOR_ALL))
        yield from (each for each in same[:-1] if each[1].how != "Snooze")


def _runs_after_a_cancel(history: History, id: str, explanations: Explanations) -> Iterator[str]:
    cancelled = history.cancelled.get(id)
    if cancelled is not None and cancelled.took_effect:
        for run in history.runs[id]:
            if run.begin > explanations.told(run, cancelled.at):
                yield f"{id} was cancelled at {cancelled.at:.3f}, and then run: {run}"
