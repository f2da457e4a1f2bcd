"""The checker of the chaos suite finds what it is for."""

from collections.abc import Sequence
from math import inf

import pytest

from tests.chaos.calls import CHILD, Call, Kind
from tests.chaos.checker import Verdict, check, check_letters
from tests.chaos.explanations import UNEXPLAINED, Explanations, deaths_by_blocks
from tests.chaos.faults import FaultKind as K
from tests.chaos.history import NO_TIME, Cancelled, History, Hit, Missing, Run, Seen

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
    missing: Sequence[Missing] = (),
    is_late: bool = False,
) -> Verdict:
    """Check the history of one call, published by a producer and waited for by it and a waiter."""
    history = History(
        {ID: Call(ID, kind, 0, 0, 0)}, ["waiter"], is_late=is_late, accepted={ID: "producer"}, accepted_at={ID: 99}
    )
    history.runs[ID] = list(runs)
    history.seen[ID] = [Seen(by, 200, *end) for by, end in zip(("producer", "waiter"), ends, strict=False)]
    history.hits += hits
    history.missing += missing
    if cancelled:
        history.cancelled[ID] = cancelled
    return check(history)


UNHEARD = Hit(K.FREEZE_SERVER, 98, 99.3, watchers=["producer"])
OTHERS = Hit(K.KILL_PRODUCER, 99, 99, pids=[1], watchers=["another"])
BEHIND = ["worker-11"]
"""The crew of WORKER."""

CUT_OFF = (run("a", WORKER, 100), run("b", OTHER, 102, 103))
DEATHS = [run(name, pid, 100 + pid) for name, pid in (("a", 1), ("b", 2), ("c", 3))]
LATE = (run("a", WORKER, 100, 101), run("b", OTHER, 104, 105))
POISONED = [("failed", "TaskFailed Poison: 3 processes have died while they ran it (max_crashes).")] * 2


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(story(run("b", WORKER, 100, 101)), id="one run"),
        pytest.param(story(*CUT_OFF, hits=[Hit(K.KILL_WORKER, 101, 101, pids=[WORKER])]), id="killed meanwhile"),
        pytest.param(story(*CUT_OFF, hits=[Hit(K.BLACKHOLE, 99, 101, crews=BEHIND)]), id="cut off meanwhile"),
        pytest.param(
            story(run("a", WORKER, 100, 101, how="OSError"), run("b", OTHER, 102, 103, attempt=2)), id="retried"
        ),
        pytest.param(story(run("a", WORKER, 100, 101, how="Snooze"), run("b", OTHER, 102, 103)), id="snoozed"),
        pytest.param(
            story(
                run("a", WORKER, 100, 101, how="OSError"),
                run("b", WORKER, 102, 103, attempt=2),
                run("c", OTHER, 104, 105, how="CancelledError"),
                hits=[Hit(K.FREEZE_WORKER, 101, 104, pids=[OTHER])],
            ),
            id="a frozen process wakes",
        ),
        pytest.param(
            story(
                *DEATHS, hits=[Hit(K.KILL_WORKER, 100 + pid, 101 + pid, pids=[pid]) for pid in (1, 2, 3)], ends=POISONED
            ),
            id="three deaths",
        ),
        pytest.param(
            story(
                *DEATHS,
                hits=[
                    *(Hit(K.KILL_WORKER, 100 + pid, 101 + pid, pids=[pid]) for pid in (1, 2)),
                    Hit(K.FREEZE_WORKER, 103, 106.2, pids=[3]),
                ],
                ends=POISONED,
            ),
            id="two deaths, and a process that was silent for longer than a verdict waits",
        ),
        pytest.param(story(*DEATHS, kind=Kind.POISON, ends=POISONED), id="poison"),
        pytest.param(
            story(
                run("a", 1, 100),
                kind=Kind.PROCESS,
                hits=[Hit(K.KILL_WORKER, 100 + pid, 101 + pid, pids=[pid]) for pid in (1, 2, 3)],
                ends=POISONED,
            ),
            id="three deaths of those who held what waited for a process of the pool",
        ),
        pytest.param(
            story(
                run("a", 1, 100),
                kind=Kind.PROCESS,
                hits=[
                    *(Hit(K.KILL_WORKER, 100 + pid, 101 + pid, pids=[pid]) for pid in (1, 2)),
                    Hit(K.BLACKHOLE, 104, 107, crews=["worker-3"]),
                ],
                ends=POISONED,
            ),
            id="two deaths of those, and one that was cut off for longer than a verdict waits",
        ),
        pytest.param(
            story(
                *LATE, hits=[Hit(K.KILL_SERVER, 101, 103, crews=BEHIND), Hit(K.KILL_WORKER, 103, 103, pids=[WORKER])]
            ),
            id="killed before the server was back to be told of the end",
        ),
        pytest.param(
            story(
                run("a", WORKER, 100, 101, how="CancelledError"),
                kind=Kind.CANCELLED,
                ends=[("cancelled", "x")] * 2,
                cancelled=Cancelled(101, took_effect=True),
            ),
            id="cancelled",
        ),
        pytest.param(
            story(
                run("a", WORKER, 100, 101, how="CancelledError"),
                kind=Kind.CANCELLED,
                hits=[Hit(K.BLACKHOLE, 96, 99, crews=BEHIND)],
                ends=[("cancelled", "x")] * 2,
                cancelled=Cancelled(97, took_effect=True),
            ),
            id="cancelled behind a network that did not tell",
        ),
        *(
            pytest.param(
                story(run("b", WORKER, 104, 105), hits=hits, missing=[Missing(ID, "waiter", at)], is_late=True),
                id=f"not known yet, {at - 99:g} s after it was confirmed",
            )
            for at, hits in (
                (99.4, ()),
                (103, [UNHEARD]),
                (103.5, [Hit(K.KILL_PRODUCER, 99.2, 99.2, pids=[1], watchers=["producer"])]),
            )
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
        (story(*CUT_OFF, hits=[Hit(K.KILL_WORKER, 101, 101, pids=[OTHER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.KILL_WORKER, 90, 97, pids=[WORKER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.KILL_WORKER, 110, 110, pids=[WORKER])]), "No fault explains"),
        (story(*LATE, hits=[Hit(K.KILL_WORKER, 103, 103, pids=[WORKER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.FREEZE_WORKER, 97, 99, pids=[WORKER])]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.CUT, 101, 101, crews=BEHIND)]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.KILL_SERVER, 101, 103, crews=BEHIND)]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.BLACKHOLE, 101, 101.4, crews=BEHIND)]), "No fault explains"),
        (story(*CUT_OFF, hits=[Hit(K.FREEZE_SERVER, 101, 101.9, crews=BEHIND)]), "No fault explains"),
        *(
            (story(*CUT_OFF, hits=[Hit(kind, 100, 110, crews=BEHIND)]), "No fault explains")
            for kind in (K.KILL_NODE, K.FREEZE_NODE, K.STOP_APP, K.CLOSE_CONNECTIONS, K.BLACKHOLE_NODE)
        ),
        (story(run("a", WORKER, 100, 101), run("b", OTHER, 100, 101)), "No fault explains"),
        (story(*CUT_OFF, ends=[("succeeded", "a"), ("succeeded", "b")]), "seen to end in 2 ways"),
        (story(run("a", WORKER, 100, 101)), "value of a run that did not return"),
        (story(run("b", WORKER, 100)), "value of a run that did not return"),
        (story(run("b", WORKER, 100, 101, attempt=2)), "the one before had not failed"),
        (story(run("b", WORKER, 100, 101), kind=Kind.FAILS), "ended as succeeded"),
        (story(*DEATHS[:2], kind=Kind.POISON, ends=POISONED), "was taken for poison"),
        (story(*DEATHS, ends=POISONED), "was taken for poison"),
        (
            story(*DEATHS[:2], hits=[Hit(K.KILL_WORKER, 101, 103, pids=[pid]) for pid in (1, 2)], ends=POISONED),
            "was taken for poison",
        ),
        (
            story(
                *DEATHS,
                hits=[Hit(K.FREEZE_WORKER, 100 + pid, 102 + pid, pids=[pid]) for pid in (1, 2, 3)],
                ends=POISONED,
            ),
            "was taken for poison",
        ),
        (story(run("b", WORKER, 100, 101), kind=Kind.POISON), "is poison"),
        (story(run("b", WORKER, 100, 101), missing=[Missing(ID, "waiter", 99.1)]), "Told that there is no result"),
        *(
            (
                story(run("b", WORKER, 100, 101), hits=hits, missing=[Missing(ID, "waiter", at)], is_late=True),
                "Told that there is no result",
            )
            for at, hits in ((99.6, ()), (100.6, [UNHEARD]), (99.6, [OTHERS]))
        ),
        (
            story(run("b", WORKER, 100, 101), kind=Kind.CANCELLED, cancelled=Cancelled(99, took_effect=True)),
            "said True, and it ended as succeeded",
        ),
        (
            story(
                run("b", WORKER, 100, 101, how="CancelledError"),
                kind=Kind.CANCELLED,
                ends=[("cancelled", "x")] * 2,
                cancelled=Cancelled(99.4, took_effect=True),
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
    everywhere = Hit(K.FREEZE_SERVER, 100, 103, crews=BEHIND)
    assert story(*CUT_OFF).repeats == {UNEXPLAINED: 1}
    assert story(*CUT_OFF, hits=[everywhere, Hit(K.KILL_WORKER, 101, 101, pids=[WORKER])]).repeats == {K.KILL_WORKER: 1}
    assert story(*CUT_OFF, hits=[everywhere]).repeats == {K.FREEZE_SERVER: 1}
    assert story(ends=[]).lost == 1


def test_a_task_that_ends_its_process_explains_what_ran_beside_it() -> None:
    """A run that was cut off when another task ended its process needs no other fault."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0), "x": Call("x", Kind.EXITS, 0, 0, 0)}, [])
    history.runs[ID] = list(CUT_OFF)
    history.runs["x"] = [Run("x", "x1", WORKER, "worker-11", 1, 100.5), Run("x", "x2", OTHER, "worker-12", 1, 102, 103)]
    assert UNEXPLAINED not in check(history).repeats


@pytest.mark.parametrize(("kind", "deaths"), [(Kind.THREAD, 3), (Kind.QUICK, 2)])
def test_what_has_not_begun_in_a_thread_dies_with_its_process(kind: Kind, deaths: int) -> None:
    """Deaths count for a call that was to run in a thread, and was not seen to begin there; of another, one at most."""
    history = History({ID: Call(ID, kind, 0, 0, 0)}, [], accepted_at={ID: 99})
    history.runs[ID] = DEATHS[:1]
    history.hits += [Hit(K.KILL_WORKER, 100.5 + pid, 100.5 + pid, pids=[pid]) for pid in (1, 2, 3)]
    assert Explanations(history).deaths_of(history.calls[ID], end=110) == deaths


@pytest.mark.parametrize(("kind", "deaths"), [(Kind.BLOCKS, 3), (Kind.QUICK, 2)])
def test_what_a_blocked_loop_has_fetched_dies_with_it(kind: Kind, deaths: int) -> None:
    """Deaths count for a call that could not start because others blocked the loop; beside any others, one at most."""
    calls = {ID: Call(ID, Kind.QUICK, 0, 0, 0), "x": Call("x", kind, 0, 0, 0)}
    history = History(calls, [], accepted_at={ID: 99})
    history.runs[ID] = DEATHS[:1]
    history.runs["x"] = [Run("x", f"x{pid}", pid, f"worker-{pid}", 1, 100 + pid) for pid in (2, 3)]
    history.hits += [Hit(K.KILL_WORKER, 100.5 + pid, 100.5 + pid, pids=[pid]) for pid in (1, 2, 3)]
    assert Explanations(history).deaths_of(calls[ID], end=110) == deaths


@pytest.mark.parametrize(("is_file", "why"), [(True, K.KILL_WORKER), (False, UNEXPLAINED)])
def test_who_is_frozen_may_lock_the_file(is_file: bool, why: str) -> None:
    """An end is on its way for as long as another is frozen, on a file, and not on a server."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0)}, [], is_file)
    history.runs[ID] = list(LATE)
    history.hits += [Hit(K.FREEZE_WORKER, 101, 103, pids=[OTHER]), Hit(K.KILL_WORKER, 103, 103, pids=[WORKER])]
    assert Explanations(history).of(history.runs[ID][0]) == why


@pytest.mark.parametrize(
    ("stalls", "why"), [([(99, 103)], K.FREEZE_WORKER), ([(99, 102)], UNEXPLAINED), ([], UNEXPLAINED)]
)
def test_a_process_that_gets_no_time_starts_late_what_it_has_fetched(
    stalls: list[tuple[float, float]], why: str
) -> None:
    """A fault explains a run that began long after it where the process has noted that it was not run meanwhile."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0)}, [])
    history.runs[ID] = [run("a", OTHER, 102, 103), run("b", WORKER, 103.1, 104)]
    history.hits += [Hit(K.FREEZE_WORKER, 97, 99, pids=[WORKER])]
    history.stalls += [Hit("stall", begin, end, pids=[WORKER]) for begin, end in stalls]
    assert Explanations(history).of(history.runs[ID][1]) == why


@pytest.mark.parametrize(
    ("letters", "deaths", "wrong"),
    [
        ([], 0, [f"{ID} failed for good"]),
        ([ID], 0, []),
        ([ID, ID + CHILD], 3, []),
        ([ID, ID + CHILD], 2, [f"{ID}{CHILD} has a dead letter"]),
        ([ID, "x"], 3, ["x has a dead letter"]),
    ],
)
def test_letters(letters: list[str], deaths: int, wrong: list[str]) -> None:
    """The dead letters are those of calls that were seen to fail, and of children for which three processes died."""
    history = History({ID: Call(ID, Kind.NESTED, 0, 0, 0)}, [])
    history.seen[ID] = [Seen("producer", 200, "failed", "x")]
    history.runs[ID + CHILD] = DEATHS
    history.hits += [Hit(K.KILL_WORKER, 100 + pid, 101 + pid, pids=[pid]) for pid in range(1, deaths + 1)]
    found = list(check_letters(history, letters))
    assert [text.startswith(start) for text, start in zip(found, wrong, strict=True)] == [True] * len(wrong)


@pytest.mark.parametrize(
    ("begins", "deaths"), [((100, 101.5, 103.01), [104]), ((100, 102, 103.6), []), ((100, 101.5), [])]
)
def test_tasks_that_block_the_loop_together(begins: tuple[float, ...], deaths: list[float]) -> None:
    """A process ends where tasks that are harmless by themselves leave its loop no turn for too long."""
    calls = {f"x{number}": Call(f"x{number}", Kind.BLOCKS, 1.5, 0, 0) for number in range(len(begins))}
    history = History(calls, [])
    for number, begin in enumerate(begins):
        end = inf if number == len(begins) - 1 else begin + 1.5
        history.runs[f"x{number}"] = [run(f"x{number}", WORKER, begin, end)]
    assert [hit.begin for hit in deaths_by_blocks(history)] == deaths


@pytest.mark.parametrize(
    ("kind", "used", "why"),
    [(Kind.QUICK, 0.1, NO_TIME), (Kind.QUICK, 1.5, UNEXPLAINED), (Kind.HOG, 1.5, Kind.HOG)],
    ids=["idle", "busy", "a task takes all memory"],
)
def test_a_process_that_stands_still(kind: Kind, used: float, why: str) -> None:
    """It is as good as frozen where the machine gives it no time, or a task keeps its threads from running."""
    history = History({ID: Call(ID, kind, 0, 0, 0)}, [])
    start = {"what": "start", "id": ID, "crew": "worker", "attempt": 1}
    history.take_runs(
        [
            {**start, "at": 100, "run": "a", "pid": WORKER, "worker": WORKER},
            {**start, "at": 101.5, "run": "b", "pid": OTHER, "worker": OTHER},
            {"what": "end", "at": 101.6, "run": "b", "how": "returned"},
            {"what": "stall", "at": 102, "begin": 100.1, "pid": WORKER, "used": used},
            {"what": "end", "at": 102.1, "run": "a", "how": "CancelledError"},
        ]
    )
    assert Explanations(history).of(history.runs[ID][0]) == why
    frozen = Hit(K.FREEZE_WORKER, 100.1, 102, pids=[WORKER])
    history.hits.append(frozen)
    assert Explanations(history).of(history.runs[ID][0]) == K.FREEZE_WORKER, "what was planned goes first"


@pytest.mark.parametrize(("pause", "why"), [(0.2, NO_TIME), (0.5, UNEXPLAINED)])
def test_a_process_that_hardly_runs_between_two_stalls(pause: float, why: str) -> None:
    """Two stalls with too little time between them to renew a lease cost what one would that is as long as both."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0)}, [])
    start = {"what": "start", "id": ID, "crew": "worker", "attempt": 1}
    history.take_runs(
        [
            {**start, "at": 100, "run": "a", "pid": WORKER, "worker": WORKER},
            {"what": "stall", "at": 100.5, "begin": 100.1, "pid": WORKER, "used": 0.01},
            {"what": "stall", "at": 100.6, "begin": 100.2, "pid": OTHER, "used": 0.01},
            {"what": "stall", "at": 100.9 + pause, "begin": 100.5 + pause, "pid": WORKER, "used": 0.01},
            {**start, "at": 100.9 + pause, "run": "b", "pid": OTHER, "worker": OTHER},
        ]
    )
    assert Explanations(history).of(history.runs[ID][0]) == why


@pytest.mark.parametrize(("is_file", "why"), [(True, K.FREEZE_WORKER), (False, UNEXPLAINED)])
def test_an_end_that_waits_for_a_process_without_time(is_file: bool, why: str) -> None:
    """A process that stands still may hold the lock of a file, so that others' ends reach that only when it goes on."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0)}, [], is_file)
    start = {"what": "start", "id": ID, "crew": "worker", "attempt": 1}
    history.take_runs(
        [
            {**start, "at": 100, "run": "a", "pid": WORKER, "worker": WORKER},
            {"what": "end", "at": 100.1, "run": "a", "how": "returned"},
            {"what": "stall", "at": 100.4, "begin": 100.1, "pid": OTHER, "used": 0.01},
            {**start, "at": 102, "run": "b", "pid": OTHER, "worker": OTHER},
            {"what": "end", "at": 102.1, "run": "b", "how": "returned"},
        ]
    )
    history.hits.append(Hit(K.FREEZE_WORKER, 100.8, 103, pids=[WORKER]))
    assert Explanations(history).of(history.runs[ID][0]) == why


@pytest.mark.parametrize(("stalls", "why"), [([(99, 102)], K.KILL_WORKER), ([], UNEXPLAINED)])
def test_who_wakes_and_starts_what_was_taken_from_it(stalls: list[tuple[float, float]], why: str) -> None:
    """A run that began later, but had been given out before, does not say that another one had ended."""
    history = History({ID: Call(ID, Kind.QUICK, 0, 0, 0)}, [])
    history.runs[ID] = [
        run("a", WORKER, 101),
        run("b", OTHER, 102, 102.1, how="CancelledError"),
        run("c", 13, 104, 105),
    ]
    history.hits += [Hit(K.KILL_WORKER, 103, 103, pids=[WORKER])]
    history.stalls += [Hit("stall", begin, end, pids=[OTHER]) for begin, end in stalls]
    assert Explanations(history).of(history.runs[ID][0]) == why
