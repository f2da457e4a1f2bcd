"""Suspects: what has killed twice runs one by one, and what kills a third time is put aside."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from asyncq import Broker, ConfigurationError, FailedCall, Handle, MemoryBroker, Queue, Status, TaskFailed
from asyncq.memory.consumer import MemoryConsumer
from asyncq.testing.clock import MovableClock
from asyncq.transport import Consumer, Return, Settlement
from tests.waiting import wait_until
from tests.working import working


@pytest.fixture
def clock() -> MovableClock:
    """What tells leases and due times."""
    return MovableClock()


@pytest.fixture
async def broker(clock: MovableClock) -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker(clock=clock, queues=[Queue("mail", concurrency=1)]) as broker:
        yield broker


async def crash(broker: Broker, *, times: int = 1, count: int = 100) -> None:
    """Let a consumer die with all that is ready, so many times."""
    transport = (await broker.open()).transport
    for number in range(times):
        consumer = await transport.consumer(f"dead-{number}", ["default"], lease=60)
        await consumer.fetch({"default": count}, count, wait=False, suspects=count)
        await transport.release([consumer.name])


async def silenced(broker: Broker, clock: MovableClock, name: str) -> Consumer:
    """Let a consumer fetch what is ready and be taken for dead; return it."""
    transport = (await broker.open()).transport
    consumer = await transport.consumer(name, ["default"], lease=1)
    await consumer.fetch({"default": 100}, 100, wait=False, suspects=100)
    await silence(broker, clock)
    return consumer


async def silence(broker: Broker, clock: MovableClock) -> None:
    """Let all leases run out, and reclaim them."""
    other = await (await broker.open()).transport.consumer(f"reclaimer-{clock.now_ms()}", ["default"], lease=1e6)
    clock.move(600)
    other.lease().reclaim()
    await other.leave()


async def is_scheduled(handle: Handle[Any]) -> bool:
    """Say whether the call waits for its time."""
    return await handle.status() is Status.SCHEDULED


async def test_one_suspect_at_a_time(broker: Broker) -> None:
    """A worker runs one suspect at a time, beside whatever else there is; all of them end."""
    running: set[int] = set()
    most = 0
    plain_beside = asyncio.Event()

    @broker.task
    async def suspect(number: int) -> int:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await plain_beside.wait()
        await asyncio.sleep(0)  # others may run
        running.remove(number)
        return number

    @broker.task
    async def plain() -> None:
        plain_beside.set()

    handles = [await suspect.kiq(number) for number in range(20)]
    await crash(broker, times=2)
    async with working(broker):
        await (await plain.kiq())
        assert await asyncio.gather(*handles) == list(range(20))
    assert most == 1


async def test_a_suspect_is_there_until_its_end_is_settled(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins when the end of the one before it is settled: until then its death would count for both."""
    may_settle, is_settling, plain_ran = asyncio.Event(), asyncio.Event(), asyncio.Event()
    settle = MemoryConsumer.settle
    ran: list[int] = []

    async def settled(consumer: MemoryConsumer, settlements: Sequence[Settlement]) -> Sequence[bool]:
        is_settling.set()
        await may_settle.wait()
        return await settle(consumer, settlements)

    @broker.task
    async def suspect(number: int) -> None:
        ran.append(number)

    @broker.task
    async def plain() -> None:
        plain_ran.set()

    handles = [await suspect.kiq(number) for number in range(3)]
    await crash(broker, times=2)
    monkeypatch.setattr(MemoryConsumer, "settle", settled)
    async with working(broker), asyncio.timeout(5):
        await is_settling.wait()
        await plain.kiq()
        await plain_ran.wait()  # by a fetch that might have brought a suspect as well
        assert ran == [0]
        may_settle.set()
        await asyncio.gather(*handles)
    assert ran == [0, 1, 2]


async def test_poison(broker: Broker) -> None:
    """A call that three processes have died of is not run again: it goes to the dead letters, and its waiter knows."""
    ran = 0
    told: list[str] = []

    @broker.task
    async def report(call: FailedCall) -> None:
        told.append(call.reason)

    @broker.task(on_failure=report)
    async def poison() -> None:
        nonlocal ran
        ran += 1

    handle = await poison.kiq()
    await crash(broker, times=3)
    async with working(broker, lease=0.1):
        result = await handle.result(timeout=5)
    assert result.status is Status.FAILED
    assert isinstance(result.error, TaskFailed)
    assert result.error.type_name == "Poison"
    assert (result.attempts, ran) == (0, 0)
    [letter] = await (await broker.open()).transport.dead_letters("default")
    assert letter.reason.startswith("poison: 3 processes have died")
    assert told == [letter.reason]


async def test_who_was_cut_off_comes_back_in_time(broker: Broker, clock: MovableClock) -> None:
    """A call whose three workers were only cut off is not put aside when one of them is back: it runs."""

    @broker.task
    async def innocent() -> int:
        return 1

    handle = await innocent.kiq()
    cut_off = [await silenced(broker, clock, f"cut-off-{number}") for number in range(3)]

    async with working(broker, lease=1):
        await wait_until(lambda: is_scheduled(handle), "the verdict is put off")
        await cut_off[0].absolve()
        clock.move(2)
        assert (await handle.result(timeout=5)).value == 1


async def test_a_crash_is_no_attempt(broker: Broker) -> None:
    """After two crashes a call runs all the same, and its first attempt is its first."""

    @broker.task
    async def work() -> int:
        return 1

    handle = await work.kiq()
    await crash(broker, times=2)
    async with working(broker, burst=True):
        result = await handle.result(timeout=5)
    assert (result.value, result.attempts) == (1, 1)


async def test_a_call_that_may_crash_for_ever_waits(broker: Broker, clock: MovableClock) -> None:
    """After the third crash a call waits longer each time before it runs again, once for each, and uses no attempt."""

    @broker.task(max_crashes=None)
    async def tough() -> int:
        return 1

    transport = (await broker.open()).transport
    for crashes, least, most in ((3, 0.5, 1), (4, 1, 2), (5, 2, 4), (40, 30, 60)):
        handle = await tough.kiq()
        await crash(broker, times=crashes)
        async with working(broker, lease=0.1):
            await wait_until(lambda handle=handle: is_scheduled(handle), "it waits before it runs again")
            clock.move(least - 0.01)
            assert (await transport.counts(["default"]))[0].scheduled == 1
            clock.move(most - least + 0.01)
            result = await handle.result(timeout=5)
        assert (result.value, result.attempts) == (1, 1)


async def test_the_limit_is_an_option(broker: Broker, clock: MovableClock) -> None:
    """A task may bear more crashes, or any number of them; a limit that makes no sense is refused."""

    @broker.task(max_crashes=None)
    async def tough() -> int:
        return 1

    @broker.task(max_crashes=1)
    async def frail() -> int:
        return 1

    tough_one = await tough.kiq()
    await crash(broker, times=5)
    frail_one = await frail.kiq()
    await crash(broker)
    async with working(broker, lease=0.1):
        await wait_until(lambda: is_scheduled(tough_one), "it waits before it runs again")
        clock.move(60)
        assert (await tough_one.result(timeout=5)).value == 1
        assert (await frail_one.result(timeout=5)).status is Status.FAILED
    with pytest.raises(ConfigurationError, match="max_crashes is 1 or more"):
        broker.task(max_crashes=0)


async def test_a_suspect_that_ends_makes_room_for_the_next(broker: Broker) -> None:
    """While a suspect runs, the worker's fetch waits without suspects; when it ends, that wait is ended, too."""
    may_end = asyncio.Event()

    @broker.task
    async def suspect() -> None:
        await may_end.wait()

    handles = [await suspect.kiq() for _ in range(2)]
    await crash(broker, times=2)

    async def runs() -> bool:
        return await handles[0].status() is Status.RUNNING

    async with working(broker):
        await wait_until(runs, "one of them runs")
        for _ in range(20):  # the next fetch is under way, and waits
            await asyncio.sleep(0)
        may_end.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*handles)


async def test_a_suspect_that_waits_for_another(broker: Broker) -> None:
    """A suspect that awaits a suspect gives way to it: both end where there is one worker."""

    @broker.task
    async def child() -> int:
        return 1

    @broker.task
    async def parent() -> int:
        return 1 + await (await child.options(id="child").kiq())

    handle = await parent.kiq()
    await child.options(id="child").kiq()
    await crash(broker, times=2)
    async with working(broker), asyncio.timeout(5):
        assert await handle == 2


async def test_a_suspect_that_waits_for_an_innocent(broker: Broker) -> None:
    """A suspect that awaits a call that never crashed gives way to nobody: another's death would be counted for it."""
    running = 0
    most = 0

    @broker.task
    async def child() -> int:
        await asyncio.sleep(0.01)  # others may run meanwhile
        return 1

    @broker.task
    async def parent() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return 1 + await (await child.kiq())
        finally:
            running -= 1

    handles = [await parent.kiq() for _ in range(3)]
    await crash(broker, times=2)
    async with working(broker), asyncio.timeout(5):
        assert await asyncio.gather(*handles) == [2, 2, 2]
    assert most == 1


async def test_a_suspect_whose_thread_goes_on(broker: Broker) -> None:
    """A suspect whose thread outlasts its time limit holds up the next one until the thread ends."""
    may_end = threading.Event()
    ended: list[str] = []

    @broker.task(timeout=0.05, retry=None)
    def stubborn() -> None:
        may_end.wait()
        ended.append("stubborn")

    @broker.task
    async def other() -> None:
        ended.append("other")

    @broker.task
    async def plain() -> None:
        ended.append("plain")

    first, second = await stubborn.kiq(), await other.kiq()
    await crash(broker, times=2)
    async with working(broker), asyncio.timeout(5):
        assert (await first.result()).status is Status.FAILED
        await (await plain.kiq())
        may_end.set()
        await second
    assert ended == ["plain", "stubborn", "other"]


async def test_a_queue_at_its_limit_goes_on(broker: Broker) -> None:
    """When a queue's only slot comes free while the fetch waits for other queues, its next message is fetched."""

    @broker.task(queue="mail")
    async def mail(number: int) -> int:
        await asyncio.sleep(0.01)  # others may run meanwhile
        return number

    handles = [await mail.kiq(number) for number in range(5)]
    async with working(broker, concurrency=10), asyncio.timeout(5):
        assert await asyncio.gather(*handles) == [0, 1, 2, 3, 4]


async def test_a_lent_slot_of_a_queue_at_its_limit(broker: Broker) -> None:
    """A task that awaits another of its queue, which runs one at a time, lends it its slot there."""

    @broker.task(queue="mail")
    async def child() -> int:
        return 1

    @broker.task(queue="mail")
    async def parent() -> int:
        return 1 + await (await child.kiq())

    async with working(broker, concurrency=10), asyncio.timeout(5):
        assert await (await parent.kiq()) == 2


async def test_a_lent_slot_of_the_only_queue(broker: Broker) -> None:
    """The same where the worker consumes no other queue, and has slots to spare that it may not use."""

    @broker.task(queue="mail")
    async def child() -> int:
        return 1

    @broker.task(queue="mail")
    async def parent() -> int:
        return 1 + await (await child.kiq())

    async with working(broker, queues={"mail": 1}, concurrency=10), asyncio.timeout(5):
        assert await (await parent.kiq()) == 2


async def test_a_burst_runs_what_its_tasks_wait_for(broker: Broker) -> None:
    """In burst a task that awaits another, published when the queue was empty, gets it from the same worker."""
    may_go_on = asyncio.Event()

    @broker.task
    async def child() -> int:
        return 1

    @broker.task
    async def parent() -> int:
        await may_go_on.wait()
        return 1 + await (await child.kiq())

    handle = await parent.kiq()
    async with working(broker, burst=True, concurrency=10), asyncio.timeout(5):
        for _ in range(20):  # it has fetched, and found nothing more
            await asyncio.sleep(0)
        may_go_on.set()
        assert await handle == 2


async def test_the_lost_lease_of_a_living_worker(broker: Broker, clock: MovableClock) -> None:
    """A worker that lost its lease and lives says so: it counts no crash, however often."""
    started = asyncio.Semaphore(0)
    runs = 0

    @broker.task
    async def work() -> int:
        nonlocal runs
        runs += 1
        started.release()
        if runs <= 6:
            await asyncio.Event().wait()
        return 1

    async with working(broker), asyncio.timeout(10):
        handles = [await work.kiq() for _ in range(2)]
        for _ in range(3):
            for _ in range(2):
                await started.acquire()
            await silence(broker, clock)  # as if it had been frozen
        assert await asyncio.gather(*handles) == [1, 1]


async def test_what_ends_before_the_loss_is_known(broker: Broker, clock: MovableClock) -> None:
    """Runs that end between the loss of the lease and the news of it count no crash either."""
    started, may_end = asyncio.Semaphore(0), asyncio.Semaphore(0)

    @broker.task
    async def work() -> int:
        started.release()
        await may_end.acquire()
        return 1

    async with working(broker, concurrency=1), asyncio.timeout(10):
        handle = await work.kiq()
        for _ in range(3):
            await started.acquire()
            await silence(broker, clock)  # as if it had been frozen
            may_end.release()  # no slot is free to fetch for: its refused settlement is the first that it hears
        await started.acquire()
        may_end.release()
        assert await handle == 1


async def test_what_is_handed_back_is_no_suspect(broker: Broker) -> None:
    """A worker that stops counts no crash for what it hands back."""
    transport = (await broker.open()).transport

    @broker.task
    async def work() -> int:
        return 1

    await work.kiq()
    consumer = await transport.consumer("one", ["default"], lease=60)
    [delivery] = await consumer.fetch({"default": 1}, 1)
    assert list(await consumer.settle([Return(delivery)])) == [True]
    [delivery] = await consumer.fetch({"default": 1}, 1, suspects=0)
    assert delivery.crashes == 0
    await consumer.leave()
