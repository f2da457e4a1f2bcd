"""Plain functions in threads, and those that go on after their run was given up."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from asyncq import Broker, Context, Depends, MemoryBroker, Status, TaskTimeout, current_context
from asyncq.message import Message
from asyncq.worker import threads
from asyncq.worker.slots import SlotLoan, Slots
from tests.waiting import wait_until
from tests.working import working

variable: ContextVar[str] = ContextVar("variable", default="nothing")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """An open broker in memory."""
    async with MemoryBroker() as broker:
        yield broker


async def test_context_variables(broker: Broker) -> None:
    """A thread sees the context variables of its worker and the context of its run; what it sets stays its own."""

    @broker.task
    def look() -> tuple[str, str]:
        seen = variable.get()
        variable.set("changed")
        return seen, current_context().message.id

    variable.set("set outside")
    async with working(broker):
        handles = [await look.kiq() for _ in range(3)]
        assert [await handle for handle in handles] == [("set outside", handle.id) for handle in handles]


async def test_progress(broker: Broker) -> None:
    """What a thread reports reaches who follows the call."""
    is_seen = threading.Event()

    @broker.task
    def work(ctx: Context = Depends()) -> None:
        ctx.progress_sync(1, 2, "half")
        is_seen.wait()

    async with working(broker):
        handle = await work.kiq()
        async for event in handle.events():
            if event.progress is not None:
                assert event.progress.note == "half"
                is_seen.set()
    assert is_seen.is_set()


async def test_bounded(broker: Broker) -> None:
    """Never more threads run than there are slots."""
    lock = threading.Lock()
    counts = [0, 0]

    @broker.task
    def work() -> None:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        threading.Event().wait(0.005)
        with lock:
            counts[0] -= 1

    async with working(broker, concurrency=4):
        for handle in [await work.kiq() for _ in range(40)]:
            await handle
    assert counts == [0, 4]


@pytest.mark.parametrize("how", ["timeout", "cancel", "stop"])
async def test_told(broker: Broker, how: str) -> None:
    """A function whose run is given up is told, for any reason, and its check passes through `except Exception`."""
    is_running = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends: list[str] = []

    @broker.task(retry=None, timeout=0.1 if how == "timeout" else None)
    def work(ctx: Context = Depends()) -> None:
        loop.call_soon_threadsafe(is_running.set)
        assert not ctx.is_cancelled
        try:
            while True:
                try:
                    ctx.check_cancelled()
                except Exception as error:
                    ends.append(repr(error))
        finally:
            ends.append(f"told: {ctx.is_cancelled}")

    async with working(broker, shutdown_timeout=0.05):
        handle = await work.kiq()
        await is_running.wait()
        match how:
            case "timeout":
                with pytest.raises(TaskTimeout):
                    await handle
            case "cancel":
                await handle.cancel()
            case _:
                pass
    await wait_until(lambda: ends == ["told: True"], "the function has ended")
    expected = {"timeout": Status.FAILED, "cancel": Status.CANCELLED, "stop": Status.QUEUED}
    assert await handle.status() is expected[how]


async def test_keeps_its_slot(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that hangs keeps its slot until it ends, does not hold back its result, and is in the log once."""
    monkeypatch.setattr(threads, "HANGING_SECONDS", 0.05)
    caplog.set_level(logging.INFO, "asyncq")
    goes_on = threading.Event()
    order: list[str] = []

    @broker.task(name="stuck", retry=None, timeout=0.05)
    def stuck() -> None:
        goes_on.wait()
        order.append("stuck")

    @broker.task
    async def other() -> None:
        order.append("other")

    async with working(broker, concurrency=1):
        handle = await stuck.kiq()
        with pytest.raises(TaskTimeout):
            await handle
        following = await other.kiq()
        await wait_until(lambda: "goes on" in caplog.text, "the log says so")
        assert await following.status() is Status.QUEUED
        goes_on.set()
        await following
    assert order == ["stuck", "other"]
    [record] = [record for record in caplog.records if "goes on" in record.getMessage()]
    text = record.getMessage()
    assert f"stuck {handle.id}" in text
    assert "1 threads hang, of 1 slots" in text
    assert "goes_on.wait()" in text
    assert record.__dict__["task_id"] == handle.id
    assert "has ended. 0 hang" in caplog.text


async def test_a_turn_is_kept_too(broker: Broker) -> None:
    """With local_concurrency, a hanging thread keeps its turn: a stuck library gets no second thread."""
    goes_on = threading.Event()
    started: list[int] = []

    @broker.task(retry=None, timeout=0.05, local_concurrency=1)
    def stuck(number: int) -> None:
        started.append(number)
        goes_on.wait()

    async with working(broker, concurrency=5):
        handles = [await stuck.kiq(number) for number in range(3)]
        with pytest.raises(TaskTimeout):
            await handles[0]
        assert started == [0]
        goes_on.set()
        await asyncio.wait([asyncio.ensure_future(handle.result()) for handle in handles[1:]])
    assert started == [0, 1, 2]


@pytest.mark.parametrize("by", ["slots", "turns"])
async def test_kept_past_lost_leases(broker: Broker, by: str) -> None:
    """A thread that hangs keeps its slot, and its turn, also when its worker loses its lease and goes on as another."""
    goes_on = threading.Event()
    running = 0
    lock = threading.Lock()

    @broker.task(retry=None, max_crashes=None, local_concurrency=1 if by == "turns" else None)
    def stuck() -> int:
        nonlocal running
        with lock:
            running += 1
            now = running
        goes_on.wait()
        with lock:
            running -= 1
        return now

    transport = (await broker.open()).transport
    known: set[str] = set()

    async def new_names() -> set[str]:
        return {each.name for each in await broker.workers()} - known

    async def is_renamed() -> bool:
        return bool(await new_names())

    bound = 2 if by == "slots" else 1
    async with working(broker, lease=0.3, concurrency=2 if by == "slots" else 5) as worker:
        handles = [await stuck.kiq() for _ in range(3)]
        await wait_until(lambda: running == bound, "the threads run")
        for _ in range(3):
            known |= (names := await new_names())
            await transport.release(list(names))
            await wait_until(is_renamed, "the worker has a new name")
            await wait_until(worker.is_healthy, "the worker works again")
            assert running == bound
        goes_on.set()
        assert {await handle for handle in handles} <= {1, 2}


async def test_at_the_end(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """When a worker ends, the log says of each thread that goes on which call it is, and where it is."""
    goes_on, is_running = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @broker.task(name="stuck")
    def stuck() -> None:
        loop.call_soon_threadsafe(is_running.set)
        goes_on.wait()

    async with working(broker, shutdown_timeout=0.01):
        handle = await stuck.kiq()
        await is_running.wait()
    goes_on.set()
    [text] = [record.getMessage() for record in caplog.records if "The worker has ended" in record.getMessage()]
    assert f"1 threads whose runs were given up go on here:\nstuck {handle.id}:" in text
    assert "goes_on.wait()" in text


async def test_given_up_before_it_began(broker: Broker) -> None:
    """A call that is given up before its thread has begun never runs: nobody has to wait for its end."""
    ran: list[bool] = []
    ended: list[threads.ThreadCall] = []
    slots = Slots(1, {"default": None}, max_waiting=1)
    context = Context(Message(v=1, id="a", task="work", queue="default"), broker, lambda *_: None)
    call = threads.ThreadCall(lambda: ran.append(True), context, SlotLoan(slots, "default"), ended.append)
    assert not call.give_up()
    assert call() is None
    assert (ran, ended) == ([], [])
