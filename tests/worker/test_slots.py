"""Slots."""

import asyncio

from asyncq.worker.slots import Slots


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
    await asyncio.sleep(0)
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
    await asyncio.sleep(0)
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
