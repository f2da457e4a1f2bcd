"""Schedules: what is called when."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asyncq import (
    At,
    Broker,
    ConfigurationError,
    Cron,
    Every,
    NotSupported,
    RabbitMQBroker,
    Schedule,
    ScheduleError,
    Scheduler,
    Status,
    Worker,
)
from tests.journeys.conftest import MakeBroker
from tests.waiting import wait_until
from tests.working import working


def soon(seconds: float = 0.3) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_declared_with_the_task(broker: Broker) -> None:
    """A task is called at the ticks that stand beside it, by a worker that runs schedules too."""
    called = asyncio.Queue[str]()

    @broker.task(schedule=[At(soon(), args=("once",)), Every(1, kwargs={"name": "often"}, name="often")])
    async def call(name: str) -> None:
        called.put_nowait(name)

    async with working(broker, scheduler=True):
        names = {await called.get() for _ in range(3)}
        assert names == {"once", "often"}
        once, often = sorted(await broker.schedules.list(), key=lambda each: each.name != call.name)

    assert once.next_at is None
    assert once.runs == 1
    assert often.name == "often"
    assert often.kwargs == {"name": "often"}
    assert often.is_declared
    assert often.next_at is not None
    assert often.last_at is not None
    assert often.next_at > often.last_at


async def test_a_tick_has_an_id(broker: Broker, worker: None) -> None:
    """The last call of a schedule is found by its id, which tells the tick."""

    @broker.task(schedule=Every(1, name="pulse"))
    async def add(a: int = 1, b: int = 2) -> int:
        return a + b

    scheduler = Scheduler(broker)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())

        async def has_run() -> bool:
            found = await broker.schedules.get("pulse")
            return found is not None and found.runs > 0

        await wait_until(has_run, "the first tick")
        scheduler.stop()
    info = await broker.schedules.get("pulse")
    assert info is not None
    assert info.last_at is not None
    assert info.last_id == f"pulse@{round(info.last_at.timestamp() * 1000)}"
    assert await broker.handle(info.last_id) == 3


async def test_added_at_run_time(broker: Broker) -> None:
    """What is added while schedulers run is called at its tick, with the options that the task had; then it is gone."""
    called = asyncio.Queue[int]()

    @broker.task
    async def remind(user_id: int) -> None:
        called.put_nowait(user_id)

    async with working(broker, scheduler=True, queues={"reminders": None}):
        added = await broker.schedules.add(remind.options(queue="reminders"), At(soon(), name="17", args=(17,)))
        assert (added.name, added.queue, added.args, added.is_declared) == ("17", "reminders", (17,), False)
        assert await called.get() == 17

        async def is_gone() -> bool:
            return await broker.schedules.get("17") is None

        await wait_until(is_gone, "what is over is removed")


async def test_replaced_paused_and_removed(broker: Broker) -> None:
    """A schedule is found by its name by everybody: it is replaced, paused, resumed, and removed."""

    @broker.task
    async def remind(user_id: int) -> None: ...

    first = await broker.schedules.add(remind, Cron("0 6 * * *", tz="Europe/Prague", name="17", args=(17,)))
    assert first.schedule == Cron("0 6 * * *", tz="Europe/Prague")
    assert first.next_at is not None
    second = await broker.schedules.add(remind, Cron("0 7 * * *", tz="Europe/Prague", name="17", args=(18,)))
    assert second.args == (18,)
    assert [each.name for each in await broker.schedules.list()] == ["17"]

    paused = await broker.schedules.pause("17")
    assert paused.is_paused
    assert paused.next_at is None
    again = await broker.schedules.add(remind, Cron("0 8 * * *", name="17", args=(18,)))
    assert again.is_paused, "whoever has paused it wants it so"
    resumed = await broker.schedules.resume("17")
    assert resumed.next_at is not None
    assert resumed.next_at.hour == 8
    assert await broker.schedules.resume("17") == resumed

    assert await broker.schedules.remove("17")
    assert not await broker.schedules.remove("17")
    assert await broker.schedules.get("17") is None
    with pytest.raises(ScheduleError, match="There is no schedule '17'"):
        await broker.schedules.pause("17")


async def test_run_now(broker: Broker, worker: None) -> None:
    """A schedule is run out of turn, paused or not, and its ticks stay as they are."""

    @broker.task
    async def double(number: int) -> int:
        return 2 * number

    added = await broker.schedules.add(double, Every(3600, name="hourly", args=(21,)))
    handle = await broker.schedules.run_now("hourly")
    assert await handle == 42
    await broker.schedules.pause("hourly")
    assert await (await broker.schedules.run_now("hourly")) == 42
    info = await broker.schedules.resume("hourly")
    assert (info.next_at, info.runs) == (added.next_at, 0)


async def test_no_overlap(broker: Broker) -> None:
    """With overlap=False a tick is passed over while the call before has not ended."""
    may_end = asyncio.Event()

    @broker.task(schedule=Every(1, overlap=False, name="slow"))
    async def work() -> None:
        await may_end.wait()

    async with working(broker, scheduler=True):

        async def has_passed() -> bool:
            info = await broker.schedules.get("slow")
            return info is not None and info.passed > 0

        await wait_until(has_passed, "a tick is passed over")
        info = await broker.schedules.get("slow")
        assert info is not None
        assert info.runs == 1
        assert await broker.handle(info.last_id).status() is Status.RUNNING
        may_end.set()

        async def goes_on() -> bool:
            info = await broker.schedules.get("slow")
            return info is not None and info.runs > 1

        await wait_until(goes_on, "the next tick after its end")


async def test_what_the_code_says_is_the_codes(broker: Broker) -> None:
    """What stands in the code can be paused, but is not removed or replaced from outside."""

    @broker.task(name="report", schedule=Cron("0 6 * * *"))
    async def report() -> None: ...

    with pytest.raises(ScheduleError, match="no scheduler has run"):
        await broker.schedules.pause("report")
    async with working(broker, scheduler=True):

        async def is_known() -> bool:
            return await broker.schedules.get("report") is not None

        await wait_until(is_known, "the scheduler has declared it")
    with pytest.raises(ScheduleError, match="stands in the code: remove it there, or pause it"):
        await broker.schedules.remove("report")
    with pytest.raises(ScheduleError, match="stands in the code: add it under another name="):
        await broker.schedules.add(report, Every(60, name="report"))
    assert (await broker.schedules.pause("report")).is_paused


async def test_removed_and_changed_in_the_code(make_broker: MakeBroker, broker: Broker) -> None:
    """Of a new version's schedules the changed one ticks as it says, and the one that is gone is removed."""
    if not broker.capabilities.is_shared:
        pytest.skip("two versions are two processes")
    old, new = make_broker(), make_broker()

    def declare(broker: Broker, **schedules: Schedule) -> None:
        for name, schedule in schedules.items():
            broker.task(name=name, schedule=schedule)(_nothing)

    declare(old, kept=Cron("0 6 * * *"), gone=Every(3600))
    declare(new, kept=Cron("30 6 * * *"), renamed=Every(3600))
    async with old, new:
        await _declared(old)
        assert [each.name for each in await broker.schedules.list()] == ["gone", "kept"]
        scheduler = Scheduler(new, lease=0.6)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run())

            async def is_clean() -> bool:
                return [each.name for each in await broker.schedules.list()] == ["kept", "renamed"]

            await wait_until(is_clean, "what nobody declares is removed")
            scheduler.stop()
        kept = await broker.schedules.get("kept")
    assert kept is not None
    assert kept.next_at is not None
    assert (kept.next_at.hour, kept.next_at.minute) == (6, 30)


async def _nothing() -> None: ...


async def _declared(broker: Broker) -> None:
    is_started = asyncio.Event()
    scheduler = Scheduler(broker, lease=0.6, on_started=is_started.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())
        await is_started.wait()
        scheduler.stop()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Every(30), r"missing .*'user_id'"),
        (Every(30, args=(object(),)), "user_id"),
        (Every(30, args=(1,), kwargs={"usr": 1}), "usr"),
        ("* * * * *", "is a Cron, Every or At, or several in a list; got '\\* \\* \\* \\* \\*'|got '\\*'"),
        ([Every(30, args=(1,)), 5], "got 5"),
        ([Every(30, args=(1,), name="a"), Every(60, args=(1,), name="a")], "Two schedules are named 'a'"),
    ],
)
def test_wrong_declarations(make_broker: MakeBroker, schedule: Any, message: str) -> None:
    """What could never be called is refused where it is declared."""
    broker = make_broker()

    async def work(user_id: int) -> None: ...

    with pytest.raises(ConfigurationError, match=message):
        broker.task(schedule=schedule)(work)


async def test_wrong_additions(broker: Broker) -> None:
    """What could never tick, or be found again, is not added."""

    @broker.task
    async def work(user_id: int) -> None: ...

    schedules = broker.schedules
    with pytest.raises(ScheduleError, match="has a name="):
        await schedules.add(work, Every(30, args=(1,)))
    with pytest.raises(ScheduleError, match="no tick any more"):
        await schedules.add(work, At(datetime(2020, 1, 1, tzinfo=UTC), name="past", args=(1,)))
    with pytest.raises(ConfigurationError, match="user_id"):
        await schedules.add(work, Every(30, name="a"))
    with pytest.raises(ConfigurationError, match=r"leave out options\(at=, delay=, id=\)"):
        await schedules.add(work.options(delay=5), Every(30, name="a", args=(1,)))
    with pytest.raises(ConfigurationError, match=r"leave out options\(at=, delay=, id=\)"):
        await schedules.add(work.options(id="a"), Every(30, name="a", args=(1,)))
    await schedules.add(work, Every(3600, name="hourly", args=(1,)))
    with pytest.raises(ScheduleError, match="Near it: 'hourly'"):
        await schedules.run_now("hourlie")
    assert [each.name for each in await schedules.list()] == ["hourly"]


def test_a_broker_without_a_memory() -> None:
    """Where nothing remembers schedules, that is said when one is declared, with what to add."""
    broker = RabbitMQBroker()

    async def work() -> None: ...

    with pytest.raises(NotSupported, match=r"schedule= of .*work'.*RabbitMQBroker\(url, store="):
        broker.task(schedule=Every(30))(work)
    with pytest.raises(NotSupported, match="A scheduler"):
        Scheduler(broker)
    with pytest.raises(NotSupported, match="A scheduler"):
        Worker(broker, scheduler=True)
