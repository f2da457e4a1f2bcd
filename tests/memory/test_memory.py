"""What is the memory transport's own: event loops that end, threads, and the clock that tests move."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from asyncq.clock import SystemClock
from asyncq.memory import MemoryState, MemoryStore, MemoryTransport
from asyncq.store import CallKey, Listener, Notice
from asyncq.testing import MovableClock
from asyncq.transport import Done, Envelope, Outcome
from asyncq.turns import pass_turns

LIMITS = {"mail": 10}


async def publish(state: MemoryState, *envelopes: Envelope) -> None:
    await MemoryTransport(state, namespace="test").publish(envelopes)


def test_messages_outlive_the_event_loop() -> None:
    """What one event loop published and fetched, a later one finds: lent until the lease runs out, then ready."""
    clock = MovableClock()
    state = MemoryState(clock)

    async def publish_and_vanish() -> None:
        transport = MemoryTransport(state, namespace="test")
        await publish(state, Envelope("a", "mail", b"a"), Envelope("b", "mail", b"b"))
        consumer = await transport.consumer("first", ["mail"], lease=10)
        assert len(await consumer.fetch({"mail": 1}, 1)) == 1
        await MemoryStore(state, namespace="test").listen(Listener(lambda notices: None, lambda: None))

    async def find() -> None:
        transport = MemoryTransport(state, namespace="test")
        consumer = await transport.consumer("second", ["mail"], lease=10)
        assert [delivery.id for delivery in await consumer.fetch(LIMITS, 10)] == ["b"]
        clock.move(10)
        assert consumer.lease().reclaim() == {"first": 1}
        (delivery,) = await consumer.fetch(LIMITS, 10)
        assert (delivery.id, delivery.crashes) == ("a", 1)

    asyncio.run(publish_and_vanish())
    asyncio.run(find())


def test_notices_to_a_closed_event_loop_are_dropped() -> None:
    """Who listened on a loop that is closed now is not told, and disturbs nobody."""
    state = MemoryState()

    async def listen_and_vanish() -> str:
        return await MemoryStore(state, namespace="test").listen(Listener(lambda notices: None, lambda: None))

    async def finish(reply: str) -> None:
        transport = MemoryTransport(state, namespace="test")
        await publish(state, Envelope("a", "mail", b""))
        consumer = await transport.consumer("c", ["mail"], lease=10)
        (delivery,) = await consumer.fetch(LIMITS, 1)
        assert await consumer.settle([Done(delivery, Outcome(b"{}", 1000, reply))]) == [True]

    asyncio.run(finish(asyncio.run(listen_and_vanish())))


async def test_a_reclaim_on_another_thread_wakes_a_waiting_fetch() -> None:
    """A consumer that waits is woken when another thread reclaims what it can take over."""
    clock = MovableClock()
    state = MemoryState(clock)
    transport = MemoryTransport(state, namespace="test")
    await publish(state, Envelope("a", "mail", b""))
    dead = await transport.consumer("dead", ["mail"], lease=1)
    await dead.fetch(LIMITS, 1)
    clock.move(1)
    alive = await transport.consumer("alive", ["mail"], lease=10)
    fetching = asyncio.create_task(alive.fetch(LIMITS, 1))
    await pass_turns()  # it begins to wait
    thread = threading.Thread(target=alive.lease().reclaim)
    thread.start()
    (delivery,) = await asyncio.wait_for(fetching, 5)
    thread.join()
    assert delivery.id == "a"


async def test_a_moved_clock_wakes_a_waiting_fetch() -> None:
    """A message due in a day is fetched as soon as the clock is moved by a day, and not a second before."""
    clock = MovableClock()
    state = MemoryState(clock)
    transport = MemoryTransport(state, namespace="test")
    consumer = await transport.consumer("c", ["mail"], lease=10)
    await publish(state, Envelope("a", "mail", b"", due_ms=clock.now_ms() + 86_400_000))
    fetching = asyncio.create_task(consumer.fetch(LIMITS, 1))
    clock.move(86_399)
    await pass_turns(10)  # nothing is to come
    assert not fetching.done()
    clock.move(1)
    (delivery,) = await asyncio.wait_for(fetching, 5)
    assert delivery.id == "a"


async def test_notices_of_one_turn_arrive_together_and_never_inline() -> None:
    """A settlement of many calls tells a listener once, after the settlement has returned."""
    state = MemoryState()
    transport = MemoryTransport(state, namespace="test")
    store = MemoryStore(state, namespace="test")
    told: list[list[Notice]] = []
    heard = asyncio.Event()

    def hear(notices: Sequence[Notice]) -> None:
        told.append(list(notices))
        heard.set()

    reply = await store.listen(Listener(hear, lambda: None))
    await publish(state, *(Envelope(str(n), "mail", b"") for n in range(3)))
    consumer = await transport.consumer("c", ["mail"], lease=10)
    deliveries = await consumer.fetch(LIMITS, 10)
    await consumer.settle([Done(delivery, Outcome(b"{}", 1000, reply)) for delivery in deliveries])
    assert told == []
    await asyncio.wait_for(heard.wait(), 5)
    assert [[notice.id for notice in notices] for notices in told] == [["0", "1", "2"]]
    await store.close()


async def test_a_name_joins_once() -> None:
    """A consumer's name that is a member already is refused: what it holds would be lost."""
    transport = MemoryTransport(MemoryState(), namespace="test")
    await transport.consumer("c", ["mail"], lease=10)
    with pytest.raises(ValueError, match="'c' is a member already"):
        await transport.consumer("c", ["mail"], lease=10)


async def test_expired_results_are_forgotten_without_being_asked_for() -> None:
    """Results that nobody asks for leave memory once others end after their time."""
    clock = MovableClock()
    state = MemoryState(clock)
    transport = MemoryTransport(state, namespace="test")
    consumer = await transport.consumer("c", ["mail"], lease=10)
    for n in range(100):
        await publish(state, Envelope(str(n), "mail", b""))
        deliveries = await consumer.fetch(LIMITS, 1)
        await consumer.settle([Done(delivery, Outcome(b"{}", 10_000)) for delivery in deliveries])
        clock.move(1)
    assert len(state.space("test").records._records) == 10  # what is bounded can't be seen from outside
    clock.move(10)
    assert await MemoryStore(state, namespace="test").look([CallKey("99")]) == [None]


def test_the_machines_clock_needs_nobody_to_move_it() -> None:
    """Without a clock of the test's, the time is the machine's."""
    assert abs(MemoryState().now_ms() - SystemClock().now_ms()) < 1000
