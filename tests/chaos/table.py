"""The table of a run."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.bounds import Bounds
from tests.chaos.calls import GROUPED, PER, RATED, SLOTS, SLOTTED, TURNS, UNIQUE, Kind
from tests.chaos.checker import Verdict
from tests.chaos.explanations import UNEXPLAINED
from tests.chaos.faults import Fault, FaultKind
from tests.chaos.history import History


def table_of(faults: Sequence[Fault], history: History, verdict: Verdict, dead: int) -> str:
    """Return what happened, in Markdown."""
    kinds = Counter(fault.kind for fault in faults)
    runs = [run for several in history.runs.values() for run in several]
    failures = sum(1 for run in runs if run.how not in ("", "returned"))
    rows = [
        ("faults", len(faults)),
        *((f"- {kind}", kinds[kind]) for kind in FaultKind if kinds[kind]),
        ("calls confirmed", len(history.accepted)),
        ("runs", len(runs)),
        ("- that raised, so that they were tried again or buried", failures),
        ("- that were repeats, explained by a fault", verdict.repeats.total() - verdict.repeats[UNEXPLAINED]),
        *((f"-- {kind}", count) for kind, count in verdict.repeats.most_common() if kind != UNEXPLAINED),
        ("- that were repeats, unexplained", verdict.repeats[UNEXPLAINED]),
        ("waits that ended with a result", sum(map(len, history.seen.values()))),
        *([("- asked for again: the call was not known yet", verdict.unknown)] if history.is_late else []),
        ("cancelled", sum(each.took_effect for each in history.cancelled.values())),
        *_rows_of_bounds(history, verdict.bounds),
        ("dead letters", dead),
        ("- of them poison", verdict.poisoned),
        ("- of them innocent, after three deaths", verdict.condemned),
        ("lost", verdict.lost),
        ("claims that do not hold", len(verdict.wrong)),
    ]
    return "\n".join(["| | |", "|---|--:|", *(f"| {name} | {count:,} |" for name, count in rows)])


def _rows_of_bounds(history: History, bounds: Bounds) -> Iterator[tuple[str, int]]:
    kinds = {call.kind for call in history.calls.values()}
    if kinds & SLOTTED:
        yield f"runs that needed one of {SLOTS} slots of their key", bounds.slotted
        yield "- that were beside as many, one of which had lost its slot by a fault or a cancel", bounds.beside.total()
        yield from ((f"-- {kind}", count) for kind, count in bounds.beside.most_common())
    if kinds & RATED:
        yield f"runs that needed one of {TURNS} turns in {PER:g} s of their key", bounds.rated
    if kinds & GROUPED:
        of_groups = [id for id, call in history.calls.items() if call.group]
        yield "runs of calls of groups", sum(len(history.runs.get(id, ())) for id in of_groups)
    if kinds & UNIQUE:
        yield "calls that were told that another has their key", bounds.merged
    if Kind.MOVED in kinds:
        yield "calls that were given another time", bounds.moved
    if Kind.TICK in kinds:
        yield "ticks of a schedule", sum(call.kind is Kind.TICK for call in history.calls.values())
