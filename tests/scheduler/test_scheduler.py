"""The scheduler on a clock that is moved: what is missed, what overlaps, and when the clocks change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from asyncq import Broker, Cron, Every, MemoryBroker, Queue, Schedule, Scheduler
from asyncq.scheduler import ticker
from asyncq.testing import MovableClock
from asyncq.transport import Change, Done, Outcome
from tests.waiting import wait_until

MINUTE = 60


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # pyright: ignore[reportArgumentType, reportCallIssue] - year, month, day and what follows


HALF_PAST_TWO = {
    (2025, 3, 30): at(2025, 3, 30, 1),
    (2025, 10, 26): at(2025, 10, 26, 0, 30),
    (2025, 3, 9): at(2025, 3, 9, 7),
    (2025, 11, 2): at(2025, 11, 2, 7, 30),
}
"""When 02:30 is, where the clocks change on that day: in Prague, then in New York."""


class Stage:
    """A broker on a moved clock with one task, and schedulers that come and go."""

    def __init__(self, schedule: Schedule, start: datetime, *, max_length: int | None = None) -> None:
        self.clock = MovableClock(round(start.timestamp() * 1000))
        queues = [Queue("default", max_length=max_length)]
        self.broker: Broker = MemoryBroker(clock=self.clock, queues=queues)

        @self.broker.task(name="tick", schedule=schedule)
        async def tick() -> None: ...

    @asynccontextmanager
    async def scheduling(self, count: int = 1) -> AsyncIterator[None]:
        """Let so many schedulers run beside the block."""
        started = [asyncio.Event() for _ in range(count)]
        schedulers = [Scheduler(self.broker, on_started=each.set) for each in started]
        async with asyncio.TaskGroup() as group:
            for scheduler in schedulers:
                group.create_task(scheduler.run())
            for each in started:
                await each.wait()
            yield
            for scheduler in schedulers:
                scheduler.stop()

    async def moved_to(self, when: datetime) -> None:
        """Set the clock, and wait until all that is due then has been published."""
        self.clock.set(round(when.timestamp() * 1000))

        async def is_settled() -> bool:
            info = await self.broker.schedules.get("tick")
            return info is not None and (info.next_at is None or info.next_at > when)

        await wait_until(is_settled, f"all until {when} is published")

    async def ended(self) -> list[datetime]:
        """End all calls that are published, keeping no result; return their ticks, in order."""
        transport = (await self.broker.open()).transport
        consumer = await transport.consumer(f"worker-{id(object())}-{self.clock.now_ms()}", ["default"], lease=60)
        ticks: list[datetime] = []
        while deliveries := await consumer.fetch({"default": 500}, 500, wait=False):
            assert all(await consumer.settle([Done(delivery, Outcome(None)) for delivery in deliveries]))
            ticks += [datetime.fromtimestamp(int(each.id.rpartition("@")[2]) / 1000, UTC) for each in deliveries]
        await consumer.leave()
        return sorted(ticks)


@pytest.mark.parametrize(
    ("catch_up", "minutes"),
    [("skip", []), ("one", [30]), ("all", [1, 11, 21, 30])],
)
async def test_missed_ticks(catch_up: str, minutes: Sequence[int]) -> None:
    """Of what was missed in half an hour, all, the latest or nothing is made up for."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE, catch_up=catch_up), start)  # pyright: ignore[reportArgumentType] - parametrized
    async with stage.broker:
        async with stage.scheduling():
            pass
        stage.clock.move(30 * MINUTE + 5)
        async with stage.scheduling():
            await stage.moved_to(start + timedelta(seconds=30 * MINUTE + 5))
            ran = await stage.ended()
            if catch_up == "all":
                assert ran == [start + timedelta(minutes=each) for each in range(1, 31)]
            else:
                assert ran == [start + timedelta(minutes=each) for each in minutes]
            await stage.moved_to(start + timedelta(minutes=31))
            assert await stage.ended() == [start + timedelta(minutes=31)]


async def test_grace() -> None:
    """What was missed longer ago than the grace is not made up for, and that is said."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE, catch_up="all", grace=5 * MINUTE), start)
    async with stage.broker, stage.scheduling():
        await stage.moved_to(start + timedelta(days=400))
        end = start + timedelta(days=400)
        assert await stage.ended() == [end - timedelta(minutes=each) for each in (4, 3, 2, 1, 0)]


async def test_many_missed_ticks() -> None:
    """More missed ticks than one step may publish are all published, each once, by whoever of five schedulers."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE, catch_up="all", grace=86_400), start)
    async with stage.broker, stage.scheduling(5):
        await stage.moved_to(start + timedelta(days=1))
        assert await stage.ended() == [start + timedelta(minutes=each) for each in range(1, 1_441)]


async def test_a_full_queue(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that a full queue refuses is published when there is room, however little; it is said once."""
    monkeypatch.setattr(ticker, "_REFUSED", ticker._AGAIN)  # the pauses between two tries
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE, catch_up="all"), start, max_length=2)
    async with stage.broker, stage.scheduling():
        stage.clock.set(round((start + timedelta(minutes=5)).timestamp() * 1000))
        ran: list[datetime] = []

        async def all_have_run() -> bool:
            ran.extend(await stage.ended())
            return len(ran) >= 5

        await wait_until(all_have_run, "all five ticks")
        assert ran == [start + timedelta(minutes=each) for each in range(1, 6)]
    told = [record for record in caplog.records if "cannot publish yet" in record.getMessage()]
    assert len(told) >= 1


async def test_an_unreadable_schedule(caplog: pytest.LogCaptureFixture) -> None:
    """What a later version has kept is left alone, and holds up nothing else."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE), start)
    async with stage.broker:
        timetable = (await stage.broker.open()).transport.timetable()
        await timetable.change([Change("alien", None, b'{"v":9}', 0)])
        async with stage.scheduling():
            await stage.moved_to(start + timedelta(minutes=1))
            assert await stage.ended() == [start + timedelta(minutes=1)]
        assert [entry.record for entry in await timetable.find(["alien"]) if entry] == [b'{"v":9}']
    assert len([record for record in caplog.records if "passed over for a minute" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("Europe/Prague", [(2025, 3, 30), (2025, 10, 26)]),
        ("America/New_York", [(2025, 3, 9), (2025, 11, 2)]),
    ],
)
@pytest.mark.parametrize("text", ["*/10 * * * *", "0 * * * *", "30 2 * * *", "30 1 * * *", "15,45 1-3 * * *"])
async def test_both_clock_changes(zone: str, days: Sequence[tuple[int, int, int]], text: str) -> None:
    """Across both changes of the clocks each tick runs once, with schedulers that come and go."""
    schedule = Cron(text, tz=zone, catch_up="all")
    for day in days:
        start, end = at(*day) - timedelta(hours=12), at(*day) + timedelta(hours=36)
        stage, expected = Stage(schedule, start), [*_ticks(schedule, start, end)]
        ran: list[datetime] = []
        async with stage.broker:
            for hour in range(0, 48, 6):
                async with stage.scheduling(2):
                    for part in range(12):
                        await stage.moved_to(start + timedelta(hours=hour, minutes=30 * (part + 1)))
                ran += await stage.ended()
        assert ran == expected
        if text == "30 2 * * *":
            assert ran[0] == HALF_PAST_TWO[day], "the end of the gap, or the first of two"
            assert len(ran) == 2, "once a day, also on that day"
        if text.startswith("*/10"):
            assert {after - before for before, after in pairwise(ran)} == {timedelta(minutes=10)}


def _ticks(schedule: Schedule, start: datetime, end: datetime) -> Sequence[datetime]:
    ticks: list[datetime] = []
    tick = schedule.next_after(start)
    while tick is not None and tick <= end:
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


async def test_the_clock_set_back() -> None:
    """A clock that is set back repeats no tick: the next is the one that was to come."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE), start)
    async with stage.broker, stage.scheduling():
        await stage.moved_to(start + timedelta(minutes=10))
        assert len(await stage.ended()) == 1
        stage.clock.move(-5 * MINUTE)
        stage.clock.move(5 * MINUTE)
        await stage.moved_to(start + timedelta(minutes=11))
        assert await stage.ended() == [start + timedelta(minutes=11)]


async def test_a_clock_that_was_wrong() -> None:
    """After a clock that was a year ahead, a schedule that is paused and resumed goes on from now."""
    start = at(2025, 1, 1)
    stage = Stage(Every(MINUTE), start)
    async with stage.broker, stage.scheduling():
        await stage.moved_to(start + timedelta(days=365))
        assert len(await stage.ended()) == 1
        stage.clock.set(round(start.timestamp() * 1000))
        await stage.broker.schedules.pause("tick")
        assert (await stage.broker.schedules.resume("tick")).next_at == start + timedelta(minutes=1)
        await stage.moved_to(start + timedelta(minutes=1))
        assert await stage.ended() == [start + timedelta(minutes=1)]


async def test_nothing_is_left_when_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """A scheduler that is stopped before its server answers returns, and one that runs ends at once."""
    caplog.set_level(logging.WARNING)
    stage = Stage(Every(MINUTE), at(2025, 1, 1))
    scheduler = Scheduler(stage.broker)
    scheduler.stop()
    async with asyncio.timeout(5):
        await scheduler.run()
    assert not stage.broker.is_open()
    assert caplog.records == []
