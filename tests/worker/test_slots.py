"""Slots."""

import asyncio
from functools import partial

import pytest

from asyncq.worker.slots import SlotLoan, Slots


def test_free_counts_the_line() -> None:
    """What stands in line counts as taken, so that no more is fetched than can start."""
    slots = Slots(2, {"a": None}, max_waiting=10)
    started: list[int] = []
    for number in range(3):
        slots.enter("a", lambda number=number: started.append(number))
    assert (started, slots.free) == ([0, 1], -1)
    slots.leave("a")
    assert (started, slots.free) == ([0, 1, 2], 0)


def test_a_full_queue_is_passed_over() -> None:
    """A queue at its own limit does not hold up the others."""
    slots = Slots(3, {"a": 1, "b": None}, max_waiting=10)
    started: list[str] = []
    for queue in ("a", "a", "b"):
        slots.enter(queue, lambda queue=queue: started.append(queue))
    assert started == ["a", "b"]
    slots.leave("b")
    assert started == ["a", "b"], "the second of queue a still waits for the first"
    slots.leave("a")
    assert started == ["a", "b", "a"]
    assert slots.free_by_queue() == {"a": 0, "b": 3}


async def test_a_lent_slot_is_taken_back_first() -> None:
    """A run that takes its slot back goes before deliveries that wait for one."""
    slots = Slots(1, {"a": None}, max_waiting=10)
    order: list[str] = []
    slots.enter("a", lambda: order.append("parent"))
    assert slots.lend("a")
    slots.enter("a", lambda: order.append("child"))
    slots.enter("a", lambda: order.append("next"))
    returning = asyncio.create_task(slots.take_back("a"))
    await asyncio.sleep(0)  # it begins to wait
    slots.leave("a")
    await returning
    assert order == ["parent", "child"]
    slots.leave("a")
    assert order == ["parent", "child", "next"]


async def test_a_cancelled_run_still_gives_its_slot_back() -> None:
    """A run that is cancelled while it waits for its slot leaves the count right when it ends."""
    slots = Slots(1, {"a": None}, max_waiting=10)
    slots.enter("a", lambda: None)
    assert slots.lend("a")
    slots.enter("a", lambda: None)
    returning = asyncio.create_task(slots.take_back("a"))
    await asyncio.sleep(0)  # it begins to wait
    returning.cancel()
    await asyncio.wait([returning])
    slots.leave("a")
    slots.leave("a")
    assert (slots.used, slots.free, slots.waiting) == (0, 1, 0)


def test_lending_is_bounded() -> None:
    """Only so many runs lend their slot at a time."""
    slots = Slots(5, {"a": None}, max_waiting=1)
    for _ in range(2):
        slots.enter("a", lambda: None)
    assert slots.lend("a")
    assert not slots.lend("a")
    assert slots.used == 1


def test_what_leaves_as_soon_as_it_is_admitted() -> None:
    """Any number may leave in the very call that admits them, as all do that stand in line when a worker stops."""
    slots = Slots(1, {"a": None}, max_waiting=10)
    left: list[int] = []

    def leave(number: int) -> None:
        left.append(number)
        slots.leave("a")

    slots.enter("a", lambda: None)
    for number in range(1_000):
        slots.enter("a", partial(leave, number))
    slots.leave("a")
    assert left == list(range(1_000))
    assert (slots.used, slots.free) == (0, 1)


async def test_lent_slots_come_back_in_turn() -> None:
    """Runs that wait for their slots again get them in the order in which they asked."""
    slots = Slots(2, {"a": None}, max_waiting=10)
    order: list[str] = []

    async def take_back(name: str) -> None:
        await slots.take_back("a")
        order.append(name)

    for _ in range(2):
        slots.enter("a", lambda: None)
        assert slots.lend("a")
    for _ in range(2):
        slots.enter("a", lambda: None)
    async with asyncio.TaskGroup() as group:
        for name in ("first", "second"):
            group.create_task(take_back(name))
        await asyncio.sleep(0)  # both begin to wait
        slots.leave("a")
        slots.leave("a")
    assert order == ["first", "second"]


async def test_waiting_again_before_the_slot_is_back() -> None:
    """A run that waits for several tasks at a time lends one slot, in whatever order its waits begin and end."""
    slots = Slots(1, {"a": None}, max_waiting=10)
    loan = SlotLoan(slots, "a")
    slots.enter("a", lambda: None)
    loan.lend()
    slots.enter("a", lambda: None)  # its child
    returning = asyncio.create_task(loan.take_back())
    await asyncio.sleep(0)  # it begins to wait
    loan.lend()  # for the next, from another coroutine of the run
    assert slots.used == 1, "what it has not got back it cannot lend"
    slots.leave("a")
    await returning
    assert slots.used == 0, "what it got back is lent at once: the next is waited for"
    await loan.take_back()
    assert (slots.used, slots.waiting) == (1, 0)
    loan.end()
    assert (slots.used, slots.waiting) == (0, 0)


@pytest.mark.parametrize("how", ["ended while lent", "lent after its end", "ended while it takes back"])
async def test_a_run_that_leaves_a_wait_behind(how: str) -> None:
    """A run gives back one slot, once, although something that it started waits longer than it runs."""
    slots = Slots(1, {"a": None}, max_waiting=10)
    loan = SlotLoan(slots, "a")
    slots.enter("a", lambda: None)
    if how == "lent after its end":
        loan.end()
        loan.lend()
        assert (slots.used, slots.waiting) == (0, 0)
        await loan.take_back()
    elif how == "ended while lent":
        loan.lend()
        loan.end()
        assert (slots.used, slots.waiting) == (0, 0)
        await loan.take_back()
    else:
        loan.lend()
        slots.enter("a", lambda: None)
        returning = asyncio.create_task(loan.take_back())
        await asyncio.sleep(0)  # it begins to wait
        loan.end()
        slots.leave("a")
        await returning
    assert (slots.used, slots.free, slots.waiting) == (0, 1, 0)
