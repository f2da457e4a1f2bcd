"""The bounds of the chaos suite: what breaks a limit, a unique key or a time is found; what a fault explains is not."""

from collections.abc import Sequence
from math import inf

import pytest

from tests.chaos.bounds import CANCELLED, Bounds, check_bounds
from tests.chaos.calls import AGAIN, PER, SLOTS, TURNS, Call, Kind
from tests.chaos.explanations import Explanations
from tests.chaos.faults import FaultKind as K
from tests.chaos.history import Cancelled, History, Hit, Merged, Moved, Run, Seen

WORKER, OTHER = 11, 12
KILLED = Hit(K.KILL_WORKER, 100.5, 100.5, pids=[WORKER])
FROZEN = Hit(K.FREEZE_WORKER, 100.5, 103, pids=[WORKER])
SLOW = Hit(K.DELAY, 97, 99.9, crews=[f"worker-{OTHER}"])


def run(number: int, begin: float, end: float = inf, *, pid: int = OTHER) -> Run:
    """Make the run of a call; one without an end was cut off."""
    return Run(f"call-{number}", f"run-{number}", pid, f"worker-{pid}", 1, begin, end, "returned" if end < inf else "")


def story(kind: Kind, *runs: Run, hits: Sequence[Hit] = ()) -> History:
    """Tell of calls of one key that ran, each of which was seen to succeed."""
    history = History({each.id: Call(each.id, kind, 0, 0, 0, "a") for each in runs}, [])
    for each in runs:
        history.runs[each.id].append(each)
        history.seen[each.id].append(Seen("waiter", each.end + 0.1, "succeeded", each.name))
    history.hits += hits
    return history


def check(history: History) -> Bounds:
    """Check it."""
    return check_bounds(history, Explanations(history))


def at_once(count: int) -> list[Run]:
    """Make so many runs at one time."""
    return [run(number, 100, 101) for number in range(count)]


def test_slots() -> None:
    """As many runs as slots may overlap, and no more; one begins where another has just ended."""
    assert check(story(Kind.SLOTTED, *at_once(SLOTS), run(9, 101, 102))).wrong == []
    assert "had slots of 'a'" in check(story(Kind.SLOTTED, *at_once(SLOTS + 1))).wrong[0]


@pytest.mark.parametrize(
    ("hit", "end", "beside"),
    [(FROZEN, 104, {K.FREEZE_WORKER: 1}), (KILLED, inf, {})],
    ids=["frozen, and not told yet", "killed"],
)
def test_a_slot_that_a_fault_has_freed(hit: Hit, end: float, beside: dict[str, int]) -> None:
    """Who has lost its lease has no slot, and is counted if it goes on beside as many as have one."""
    runs = [run(0, 100, end, pid=WORKER), *(run(number, 100, 103) for number in range(1, SLOTS)), run(9, 102, 103)]
    history = story(Kind.SLOTTED, *runs, hits=[hit])
    if end < inf:
        assert "had slots" in check(history).wrong[0], "its value was seen, so it had its slot all the time"
    history.seen["call-0"] = [Seen("waiter", 105, "succeeded", "of another run")]
    bounds = check(history)
    assert (bounds.wrong, bounds.beside) == ([], beside)
    assert bounds.slotted == SLOTS + 1
    history.runs["call-9"] = [run(9, 100.4, 103)]
    assert len(check(history).wrong) == 1, "that was before the fault"


def test_a_slot_that_a_cancel_has_freed() -> None:
    """A call that is cancelled frees its slot before its worker hears of it."""
    history = story(Kind.SLOTTED_CANCELLED, *at_once(SLOTS), run(9, 100.6, 103))
    history.seen["call-0"] = [Seen("waiter", 100.6, "cancelled", "TaskCancelled")]
    history.cancelling["call-0"] = 100.5
    history.cancelled["call-0"] = Cancelled(100.55, took_effect=True)
    bounds = check(history)
    assert (bounds.wrong, bounds.beside) == ([], {CANCELLED: 1})


def test_turns() -> None:
    """As many runs may begin at once as there are turns, and as many again when the time is over."""
    later = [run(10 + number, 100 + PER, 103) for number in range(TURNS)]
    assert check(story(Kind.RATED, *at_once(TURNS), *later)).wrong == []
    bounds = check(story(Kind.RATED, *at_once(TURNS + 1)))
    assert bounds.rated == TURNS + 1
    assert f"{TURNS + 1} runs of 'a' had turns" in bounds.wrong[0]
    assert len(check(story(Kind.RATED, *at_once(TURNS), run(9, 101, 102))).wrong) == 1


def test_turns_that_came_late() -> None:
    """What a slow network has kept may begin together with what was granted after it."""
    late = [run(number, 100, 101) for number in range(TURNS)]
    now = [run(10 + number, 100.3, 101, pid=WORKER) for number in range(TURNS)]
    assert check(story(Kind.RATED, *late, *now, hits=[SLOW])).wrong == []
    assert len(check(story(Kind.RATED, *late, *now)).wrong) == 1


def test_two_of_a_unique_key() -> None:
    """The next call of a key begins after the end of the one before; a run that was cut off is no end."""
    assert check(story(Kind.UNIQUE, run(0, 100, 101), run(1, 101.1, 102))).wrong == []
    [wrong] = check(story(Kind.UNIQUE, run(0, 100, 101), run(1, 100.9, 102))).wrong
    assert "call-1 has begun before the end of call-0" in wrong
    history = story(Kind.UNIQUE, run(0, 102, 103), run(1, 102.5, 104))
    history.runs["call-0"].insert(0, Run("call-0", "x", WORKER, "worker-11", 1, 100))
    assert len(check(history).wrong) == 1


@pytest.mark.parametrize(
    ("merged", "wrong"),
    [
        (Merged("call-0", 100.5, 100.6), ""),
        (Merged("call-0", 101.2, 101.3), "which had ended at 101.100"),
        (Merged("call-9", 100.5, 100.6), "which has another: None"),
        (Merged("call-1", 100.5, 100.6), "has run, though"),
    ],
)
def test_a_key_that_another_has(merged: Merged, wrong: str) -> None:
    """Who is told that another call has its key is told of one that has not ended, and does not run itself."""
    history = story(Kind.UNIQUE, run(0, 100, 101))
    history.calls = {**history.calls, **{id: Call(id, Kind.UNIQUE, 0, 0, 0, "a") for id in ("call-1", "call-2")}}
    asked = "call-2"
    if merged.owner == "call-1":
        history.runs[asked].append(run(2, 105, 106))
    history.merged[asked] = merged
    bounds = check(history)
    assert bounds.merged == 1
    assert wrong in "\n".join(bounds.wrong)
    assert bool(wrong) == bool(bounds.wrong)


@pytest.mark.parametrize(
    ("begin", "is_right"),
    [(100 + AGAIN, True), (100 + AGAIN - 0.5, False), (100.2, True)],
    ids=["in time", "too early", "before it was moved"],
)
def test_another_time(begin: float, is_right: bool) -> None:
    """What was given another time begins no sooner, but for a run that was given out before."""
    history = story(Kind.MOVED, run(0, begin, begin + 1))
    history.moved["call-0"] = Moved(100, 100.1, took_effect=True)
    bounds = check(history)
    assert (bounds.wrong == [], bounds.moved) == (is_right, 1)
    history.moved["call-0"] = Moved(100, 100.1, took_effect=False)
    assert check(history).wrong == []
