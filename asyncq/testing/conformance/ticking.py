"""What is promised of timetables: schedules are kept, and each tick moves on once, with its calls or not at all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from asyncq.errors import NotSupported, PublishRefused
from asyncq.queues import Queue
from asyncq.testing.conformance.onlooker import QUEUE
from asyncq.testing.conformance.stage import MINUTE_MS, OTHER_QUEUE, Process, Stage, finish
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Answer, Change, Changed, Entry, Envelope, Timetable

LATER_MS = 10**13
"""Far in the future of every clock."""


def _call(id: str, queue: str = QUEUE, *, due_ms: int = 0, priority: int = 0) -> Envelope:
    return Envelope(id, queue, f"body of {id}".encode(), priority, due_ms)


async def _make(timetable: Timetable, *changes: Change) -> list[Answer]:
    return list(await timetable.change(changes))


async def _put(timetable: Timetable, *entries: Entry) -> None:
    """Keep schedules that are new."""
    answers = await _make(timetable, *(Change(name, None, record, next_ms) for name, record, next_ms in entries))
    assert answers == [Changed.DONE] * len(entries)


@needs(has_schedules=False)
class UntickingSuite(Suite):
    """A transport that remembers no schedules says so."""

    async def test_schedules_are_refused(self, process: Process) -> None:
        """Where nothing remembers schedules, there is no timetable."""
        with pytest.raises(NotSupported):
            process.transport.timetable()


@needs(has_schedules=True)
class TickingSuite(Suite):
    """Schedules are kept, found, and moved on by one of many."""

    async def test_what_is_kept_is_found(self, stage: Stage, process: Process) -> None:
        """Every process finds what one has kept: by name, and all in alphabetical order."""
        other = (await stage.process()).transport.timetable()
        entries = [Entry("b", b"B", LATER_MS), Entry("a", b"A", None), Entry("č", b"\x00\xff", 1)]
        await _put(process.transport.timetable(), *entries)

        assert list(await other.find(["a", "x", "č"])) == [entries[1], None, entries[2]]
        assert list(await other.entries()) == sorted(entries)

    async def test_namespaces_are_apart(self, stage: Stage, process: Process) -> None:
        """What another namespace has is not seen, and its names are free."""
        other = (await stage.process(namespace=f"{stage.namespace}-2")).transport.timetable()
        await _put(other, Entry("a", b"other", 1))
        timetable = process.transport.timetable()

        assert list(await timetable.entries()) == list(await timetable.first(10)) == []
        await _put(timetable, Entry("a", b"own", 2))
        assert list(await other.find(["a"])) == [Entry("a", b"other", 1)]

    async def test_the_first_come_first(self, process: Process) -> None:
        """What is due first comes first, as many as are wanted, without what is not due at all."""
        timetable = process.transport.timetable()
        await _put(
            timetable, Entry("c", b"c", 30), Entry("a", b"a", LATER_MS), Entry("d", b"d", None), Entry("b", b"b", 20)
        )

        assert [entry.name for entry in await timetable.first(10)] == ["b", "c", "a"]
        assert list(await timetable.first(1)) == [Entry("b", b"b", 20)]

    async def test_a_tick_publishes(self, process: Process) -> None:
        """A change moves the schedule on, and publishes its calls, ready or scheduled, in their order."""
        timetable = process.transport.timetable()
        consumer = await process.consumer()
        await _put(timetable, Entry("a", b"1", 10))
        later_ms = timetable.now_ms() + MINUTE_MS

        calls = [_call("a@1"), _call("a@2"), _call("a@3", due_ms=later_ms)]
        assert await _make(timetable, Change("a", b"1", b"2", 20, calls)) == [Changed.DONE]

        assert list(await timetable.first(10)) == [Entry("a", b"2", 20)]
        deliveries = await process.stage.fetch(consumer, 2)
        assert process.in_line(each.id for each in deliveries) == ["a@1", "a@2"]
        assert {each.body for each in deliveries} == {b"body of a@1", b"body of a@2"}
        await finish(consumer, deliveries)
        await process.stage.backend.published(process.transport)
        await process.expect_counts(scheduled=1)

    async def test_a_tick_wakes_a_worker(self, stage: Stage, process: Process) -> None:
        """A consumer that waits gets a tick's call at once."""
        timetable = process.transport.timetable()
        await _put(timetable, Entry("a", b"1", 10))
        consumer = await (await stage.process()).consumer()
        fetching = stage.start(consumer.fetch({QUEUE: 1}, 1, suspects=1))

        await _make(timetable, Change("a", b"1", b"2", 20, [_call("a@1")]))

        (delivery,) = await stage.outcome(fetching, "the call of the tick")
        assert delivery.id == "a@1"

    async def test_one_of_many_wins(self, stage: Stage) -> None:
        """Of many who move on one tick at a time one does so, and its call runs once."""
        await self._race(stage, "{tick}", [str(tick) for tick in range(1, 11)])

    @needs(counts_calls=True)
    async def test_who_loses_publishes_nothing(self, stage: Stage) -> None:
        """Where messages and schedules are in one place, who is too late has published nothing, under no id."""
        await self._race(stage, "{tick} {process}", [str(tick) for tick in range(1, 11)])

    async def _race(self, stage: Stage, ids: str, expected: list[str]) -> None:
        processes = [await stage.process() for _ in range(5)]
        timetables = [each.transport.timetable() for each in processes]
        await _put(timetables[0], Entry("a", b"0", 0))
        for tick in range(1, 11):
            changes = [
                Change(
                    "a",
                    b"%d" % (tick - 1),
                    b"%d by %d" % (tick, each),
                    tick,
                    [_call(ids.format(tick=tick, process=each))],
                )
                for each in range(5)
            ]
            answers = [answer for (answer,) in await asyncio.gather(*map(_make, timetables, changes))]
            assert sorted(answers, key=str) == [Changed.DONE] + [Changed.STALE] * 4
            winner = changes[answers.index(Changed.DONE)].record
            assert await _make(timetables[0], Change("a", winner, b"%d" % tick, tick)) == [Changed.DONE]

        consumer = await processes[0].consumer()
        deliveries = await stage.fetch(consumer, 10)
        await finish(consumer, deliveries)
        assert sorted((each.id.split()[0] for each in deliveries), key=int) == expected
        if processes[0].transport.capabilities.counts_calls:
            await processes[0].expect_counts()

    async def test_the_same_again(self, process: Process) -> None:
        """A change that is sent again, because its reply was lost, takes effect once."""
        timetable = process.transport.timetable()
        await _put(timetable, Entry("a", b"1", 10))
        change = Change("a", b"1", b"2", 20, [_call("a@1")])
        gone = Change("a", b"2", None)

        assert await _make(timetable, change) == [Changed.DONE]
        assert await _make(timetable, change) == [Changed.ALREADY]
        assert await _make(timetable, gone) == [Changed.DONE]
        assert await _make(timetable, gone) == [Changed.ALREADY]

    async def test_stale_changes(self, process: Process) -> None:
        """What was changed since it was read stays, whatever was to become of it; the rest of the batch is made."""
        timetable = process.transport.timetable()
        await _put(timetable, Entry("a", b"1", 10))

        assert await _make(
            timetable,
            Change("a", None, b"2", 20, [_call("x")]),
            Change("a", b"0", None),
            Change("b", b"1", b"2", 20),
            Change("c", None, b"3", 30),
        ) == [Changed.STALE, Changed.STALE, Changed.STALE, Changed.DONE]
        assert list(await timetable.entries()) == [Entry("a", b"1", 10), Entry("c", b"3", 30)]
        await process.expect_counts()

    async def test_an_id_that_is_taken(self, process: Process) -> None:
        """A call whose id is taken is passed over, and the schedule moves on: it was published before."""
        timetable = process.transport.timetable()
        consumer = await process.consumer()
        await process.publish_ids("a@1")
        await process.stage.backend.published(process.transport)
        await _put(timetable, Entry("a", b"1", 10))

        assert await _make(timetable, Change("a", b"1", b"2", 20, [_call("a@1"), _call("a@2")])) == [Changed.DONE]

        assert sorted(await process.stage.fetch_ids(consumer, 2)) == ["a@1", "a@2"]
        assert list(await timetable.find(["a"])) == [Entry("a", b"2", 20)]

    async def test_many_calls(self, process: Process) -> None:
        """One change may publish five hundred calls."""
        timetable = process.transport.timetable()
        consumer = await process.consumer()
        await _put(timetable, Entry("a", b"1", 10))
        calls = [_call(f"a@{number:03}") for number in range(500)]

        assert await _make(timetable, Change("a", b"1", b"2", 20, calls)) == [Changed.DONE]

        ids = await process.stage.fetch_ids(consumer, 500)
        assert process.in_line(ids) == [call.id for call in calls]

    async def test_a_full_queue(self, stage: Stage) -> None:
        """Where there is no room for all calls of a tick none is published, and the schedule stays as it is."""
        process = await stage.process(queues=[Queue(QUEUE, max_length=2)])
        timetable = process.transport.timetable()
        await process.publish_ids("x")
        await process.stage.backend.published(process.transport)
        await _put(timetable, Entry("a", b"1", 10), Entry("b", b"1", 10))

        full, done = await _make(
            timetable,
            Change("a", b"1", b"2", 20, [_call("a@1"), _call("a@2")]),
            Change("b", b"1", b"2", 20, [_call("b@1", OTHER_QUEUE)]),
        )

        assert isinstance(full, PublishRefused)
        assert done is Changed.DONE
        assert list(await timetable.first(10)) == [Entry("a", b"1", 10), Entry("b", b"2", 20)]
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["x"]

    async def test_what_changes_is_told(self, stage: Stage, process: Process) -> None:
        """Who watches is told at the start, and of what is due earlier than all else, by whomever."""
        told = asyncio.Event()
        watching = stage.start((await stage.process()).transport.timetable().watch(told.set))
        timetable = process.transport.timetable()
        await stage.until(_is_set(told), "the first word")
        for number, next_ms in enumerate((LATER_MS, 20, 10)):
            told.clear()
            await _put(timetable, Entry(f"{number}", b"1", next_ms))
            await stage.until(_is_set(told), f"word of {next_ms}")
        assert not watching.done()

    async def test_who_is_not_declared_goes(self, process: Process) -> None:
        """What was declared, and is no more, is forgotten when that is asked; what never was stays."""
        timetable = process.transport.timetable()
        await _put(timetable, Entry("a", b"a", 10), Entry("b", b"b", 20), Entry("added", b"x", 30))

        assert list(await timetable.declare(["a", "b", "c"], until_ms=1_000, lapsed_ms=None)) == ["c"]
        assert list(await timetable.declare(["a"], until_ms=2_000, lapsed_ms=999)) == []
        assert [entry.name for entry in await timetable.entries()] == ["a", "added", "b"]
        assert list(await timetable.declare(["a"], until_ms=2_000, lapsed_ms=1_000)) == []
        assert [entry.name for entry in await timetable.entries()] == ["a", "added"]
        assert [entry.name for entry in await timetable.first(10)] == ["a", "added"]

    async def test_what_is_declared_before_it_is_kept(self, process: Process) -> None:
        """Who declares a schedule, keeps it, and is never heard of again, has declared it."""
        timetable = process.transport.timetable()
        assert list(await timetable.declare(["a"], until_ms=1_000, lapsed_ms=None)) == ["a"]
        await _put(timetable, Entry("a", b"a", 10))
        await timetable.declare([], until_ms=2_000, lapsed_ms=999)
        assert list(await timetable.entries()) == [Entry("a", b"a", 10)]
        await timetable.declare([], until_ms=2_000, lapsed_ms=1_000)
        assert list(await timetable.entries()) == list(await timetable.first(1)) == []

    async def test_the_longest_declaration_holds(self, process: Process) -> None:
        """Of two who declare a schedule until different times the later one counts; who declares it last saves it."""
        timetable = process.transport.timetable()
        await _put(timetable, Entry("a", b"a", 10))
        await timetable.declare(["a"], until_ms=2_000, lapsed_ms=None)
        await timetable.declare(["a"], until_ms=1_000, lapsed_ms=1_500)
        assert [entry.name for entry in await timetable.entries()] == ["a"]
        await timetable.declare(["a"], until_ms=4_000, lapsed_ms=3_000)
        assert [entry.name for entry in await timetable.entries()] == ["a"]
        await timetable.declare([], until_ms=9_000, lapsed_ms=5_000)
        assert list(await timetable.entries()) == []


def _is_set(event: asyncio.Event) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return event.is_set()

    return probe
