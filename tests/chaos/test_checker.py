"""The checker of the chaos suite finds what it is for."""

from collections.abc import Sequence
from math import inf

import pytest

from tests.chaos.calls import Call, Kind
from tests.chaos.checker import UNEXPLAINED, Verdict, check
from tests.chaos.history import Cancelled, History, Hit, Run, Seen

ID = "call-1"
WORKER, OTHER = 11, 12


def run(name: str, pid: int, begin: float, end: float = inf, *, attempt: int = 1, how: str = "returned") -> Run:
    """Make a run; one without an end was cut off."""
    return Run(ID, name, pid, f"worker-{pid}", attempt, begin, end, how if end < inf else "")


def story(
    *runs: Run,
    kind: Kind = Kind.QUICK,
    hits: Sequence[Hit] = (),
    ends: Sequence[tuple[str, str]] = (("succeeded", "b"), ("succeeded", "b")),
    cancelled: Cancelled | None = None,
    missing: Sequence[str] = (),
) -> Verdict:
    """Check the history of one call, published by a producer and waited for by it and a waiter."""
    history = History({ID: Call(ID, kind, 0, 0, 0)}, ["waiter"], accepted={ID: "producer"})
    history.runs[ID] = list(runs)
    history.seen[ID] = [Seen(by, 200, *end) for by, end in zip(("producer", "waiter"), ends, strict=False)]
    history.hits += hits
    history.missing += missing
    if cancelled:
        history.cancelled[ID] = cancelled
    return check(history)


CUT_OFF = (run("a", WORKER, 100), run("b", OTHER, 102, 103))
DEATHS = [run(name, pid, 100 + pid) for name, pid in (("a", 1), ("b", 2), ("c", 3))]
POISONED = [("failed", "TaskFailed Poison: 3 processes have died while they ran it (max_crashes).")] * 2


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(story(run("b", WORKER, 100, 101)), id="one run"),
        pytest.param(story(*CUT_OFF, hits=[Hit("kill", 101, 101, pids=[WORKER])]), id="killed meanwhile"),
        pytest.param(story(*CUT_OFF, hits=[Hit("cut", 99, 101, crews=["worker-11"])]), id="cut off meanwhile"),
        pytest.param(
            story(run("a", WORKER, 100, 101, how="OSError"), run("b", OTHER, 102, 103, attempt=2)), id="retried"
        ),
        pytest.param(story(run("a", WORKER, 100, 101, how="Snooze"), run("b", OTHER, 102, 103)), id="snoozed"),
        pytest.param(
            story(
                run("a", WORKER, 100, 101, how="OSError"),
                run("b", WORKER, 102, 103, attempt=2),
                run("c", OTHER, 104, 105, how="CancelledError"),
                hits=[Hit("freeze", 101, 104, pids=[OTHER])],
            ),
            id="a frozen process wakes",
        ),
        pytest.param(
            story(*DEATHS, hits=[Hit("kill", 100 + pid, 101 + pid, pids=[pid]) for pid in (1, 2, 3)], ends=POISONED),
            id="three faults in a row",
        ),
        pytest.param(story(*DEATHS, kind=Kind.POISON, ends=POISONED), id="poison"),
        pytest.param(
            story(
                run("a", WORKER, 100, 101, how="CancelledError"),
                kind=Kind.CANCELLED,
                ends=[("cancelled", "x")] * 2,
                cancelled=Cancelled(101, took_effect=True),
            ),
            id="cancelled",
        ),
    ],
)
def test_what_is_right(verdict: Verdict) -> None:
    """It has nothing to say of what is as it should be."""
    assert verdict.wrong == []


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (story(ends=[]), "was not seen to end by producer, waiter"),
        (story(run("b", WORKER, 100, 101), ends=[("succeeded", "b")]), "was not seen to end by waiter"),
        (story(*CUT_OFF), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit("kill", 101, 101, pids=[OTHER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit("kill", 90, 97, pids=[WORKER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit("kill", 110, 110, pids=[WORKER])]), "No fault explains"),
        (story(run("a", WORKER, 100, 101), run("b", OTHER, 100, 101)), "No fault explains"),
        (story(*CUT_OFF, ends=[("succeeded", "a"), ("succeeded", "b")]), "seen to end in 2 ways"),
        (story(run("a", WORKER, 100, 101)), "value of a run that did not return"),
        (story(run("b", WORKER, 100)), "value of a run that did not return"),
        (story(run("b", WORKER, 100, 101, attempt=2)), "the one before had not failed"),
        (story(run("b", WORKER, 100, 101), kind=Kind.FAILS), "ended as succeeded"),
        (story(*DEATHS[:2], kind=Kind.POISON, ends=POISONED), "was taken for poison"),
        (story(*DEATHS, ends=POISONED), "was taken for poison"),
        (
            story(*DEATHS[:2], hits=[Hit("kill", 101, 103, pids=[pid]) for pid in (1, 2)], ends=POISONED),
            "was taken for poison",
        ),
        (story(run("b", WORKER, 100, 101), kind=Kind.POISON), "is poison"),
        (story(run("b", WORKER, 100, 101), missing=["call-1, by waiter"]), "Told that there is no result"),
        (
            story(run("b", WORKER, 100, 101), kind=Kind.CANCELLED, cancelled=Cancelled(99, took_effect=True)),
            "said True, and it ended as succeeded",
        ),
        (
            story(
                run("b", WORKER, 100, 101, how="CancelledError"),
                kind=Kind.CANCELLED,
                ends=[("cancelled", "x")] * 2,
                cancelled=Cancelled(96, took_effect=True),
            ),
            "and then run",
        ),
    ],
)
def test_what_is_wrong(verdict: Verdict, text: str) -> None:
    """It says what does not hold."""
    assert text in "\n".join(verdict.wrong)


def test_what_is_counted() -> None:
    """Repeats are counted by what explains them; a process's own fault goes before the server's."""
    everywhere = Hit("kill server", 100, 103, crews=["worker-11"])
    assert story(*CUT_OFF).repeats == {UNEXPLAINED: 1}
    assert story(*CUT_OFF, hits=[everywhere, Hit("kill", 101, 101, pids=[WORKER])]).repeats == {"kill": 1}
    assert story(*CUT_OFF, hits=[everywhere]).repeats == {"kill server": 1}
    assert story(ends=[]).lost == 1


def test_a_task_that_ends_its_process_explains_what_ran_beside_it() -> None:
    """A run that was cut off when another task ended its process needs no other fault."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0), "x": Call("x", Kind.EXITS, 0, 0, 0)}, [])
    history.runs[ID] = list(CUT_OFF)
    history.runs["x"] = [Run("x", "x1", WORKER, "worker-11", 1, 100.5), Run("x", "x2", OTHER, "worker-12", 1, 102, 103)]
    assert UNEXPLAINED not in check(history).repeats
