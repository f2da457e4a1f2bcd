"""Dead letters, as a program looks after them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from asyncq import Broker, ConfigurationError, MemoryBroker, Reject, RetryPolicy, Status
from asyncq.testing import MovableClock
from asyncq.transport import Dead, Delivery, Envelope, Outcome
from tests.working import working

Kill = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def clock() -> MovableClock:
    """The clock of the broker."""
    return MovableClock()


@pytest.fixture
async def broker(clock: MovableClock) -> AsyncIterator[Broker]:
    """An open broker in memory, whose time is moved."""
    async with MemoryBroker(clock=clock) as broker:
        yield broker


@pytest.fixture
def kill(broker: Broker) -> Kill:
    """A way to let calls of a new task die, which returns their ids."""

    async def kill(name: str, error: Exception, *, count: int = 1, queue: str = "default", **options: Any) -> list[str]:
        @broker.task(name=name, retry=None, queue=queue, **options)
        async def task(*args: object, **kwargs: object) -> None:
            raise error

        async with working(broker):
            handles = [await task.kiq(n, note="x") for n in range(count)]
            for handle in handles:
                await handle.result(timeout=5)
        return [handle.id for handle in handles]

    return kill


async def test_a_letter_tells_all(broker: Broker, clock: MovableClock) -> None:
    """A letter holds the call as it was sent, its last error with the traceback, and when and where it died."""

    @broker.task(name="divide", retry=None, labels={"team": "growth"})
    async def divide(a: int, *, by: int) -> float:
        return a / by

    async with working(broker):
        handle = await divide.kiq(1, by=0)
        result = await handle.result(timeout=5)
    letter = await broker.dead.get(handle.id)
    assert letter is not None
    assert (letter.id, letter.task, letter.queue) == (handle.id, "divide", "default")
    assert (letter.args, letter.kwargs, letter.labels) == ([1], {"by": 0}, {"team": "growth"})
    assert (letter.error_type, letter.error_message) == ("builtins:ZeroDivisionError", "division by zero")
    assert "return a / by" in letter.traceback
    assert letter.reason == "it failed, and has no retries"
    assert (letter.attempts, letter.worker) == (1, result.worker)
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    assert letter.enqueued_at == letter.died_at == now
    assert orjson.loads(letter.body)["id"] == handle.id


async def test_a_letter_without_a_result_tells_its_error(broker: Broker) -> None:
    """With store_result=False nothing is kept for a waiter, but the letter has the final error all the same."""

    @broker.task(name="quiet", retry=None, store_result=False)
    async def quiet() -> None:
        raise KeyError("quiet")

    handle = await quiet.kiq()
    async with working(broker, burst=True):
        pass
    assert await handle.status() is Status.UNKNOWN
    letter = await broker.dead.get(handle.id)
    assert letter is not None
    assert (letter.error_type, letter.error_message, letter.attempts) == ("builtins:KeyError", "'quiet'", 1)
    assert "raise KeyError" in letter.traceback


async def test_a_letter_tells_of_all_attempts(broker: Broker) -> None:
    """A letter has the attempts before the last one, with their errors; what is retried begins without them."""
    names = iter(["first", "second", "third", "fourth"])

    @broker.task(name="fail", retry=RetryPolicy(max_attempts=2, delay=0))
    async def fail() -> None:
        raise ValueError(next(names))

    handle = await fail.kiq()
    async with working(broker):
        await handle.result(timeout=5)
        (letter,) = await broker.dead.list()
        assert (letter.attempts, letter.error_message) == (2, "second")
        assert [(past.number, past.error_message) for past in letter.history] == [(1, "first")]
        await broker.dead.retry(letter)
        await fail.handle(handle.id).result(timeout=5)
    (letter,) = await broker.dead.list()
    assert (letter.attempts, letter.error_message) == (2, "fourth")
    assert [(past.number, past.error_message) for past in letter.history] == [(1, "third")]


async def test_what_is_no_message_is_listed(broker: Broker) -> None:
    """A message that nobody could read is listed with the reason and its bytes, and can be put back as it was."""
    transport = (await broker.open()).transport
    await transport.publish([Envelope("x", "default", b"\xff no message")])
    async with working(broker, burst=True):
        pass
    (letter,) = await broker.dead.list()
    assert (letter.id, letter.task, letter.args, letter.enqueued_at) == ("x", "", [], None)
    assert letter.reason.startswith("cannot be decoded")
    assert letter.body == b"\xff no message"
    assert (await broker.dead.retry("x")).ids == ["x"]
    (delivery,) = await (await transport.consumer("c", ["default"], lease=60)).fetch({"default": 1}, 1)
    assert delivery.body == b"\xff no message"


async def test_filters(broker: Broker, kill: Kill, clock: MovableClock) -> None:
    """Letters are chosen by task, queue, error and age, alone and together, newest first over all queues."""
    (a,) = await kill("mail.send", ConnectionError("refused by 10.0.0.1"), queue="mail")
    clock.move(3600)
    (b,) = await kill("report", Reject("Too LARGE"))
    clock.move(3600)
    (c,) = await kill("mail.check", ValueError("no"), queue="mail")

    async def ids(**filters: Any) -> list[str]:
        return [letter.id for letter in await broker.dead.list(**filters)]

    assert await ids() == [c, b, a]
    assert await ids(limit=2) == [c, b]
    assert await ids(queue="mail") == [c, a]
    assert await ids(queue="never-used") == []
    assert await ids(task="mail.send") == [a]
    assert await ids(task="mail") == []
    assert await ids(error="connectionerror") == [a]
    assert await ids(error="builtins:ConnectionError") == [a]
    assert await ids(error="asyncq.errors.Reject") == [b]
    assert await ids(error="10.0.0.1") == [a]
    assert await ids(error="too large") == [b]
    assert await ids(older_than=3000) == [b, a]
    assert await ids(newer_than=4000) == [c, b]
    assert await ids(older_than=3000, newer_than=4000) == [b]
    assert await ids(older_than=3000, queue="mail") == [a]


async def test_more_than_a_page(broker: Broker) -> None:
    """All of some thousand letters are listed, filtered and put back."""
    ids = [f"{n:04}" for n in range(2_500)]
    await bury(broker, *ids)
    assert [letter.id for letter in await broker.dead.list(limit=None)] == ids[::-1]
    assert len(await broker.dead.list(error="7 failed", limit=None)) == 250
    retried = await broker.dead.retry(error="7 failed")
    assert len(retried.ids) == 250
    assert not retried.refused
    assert len(await broker.dead.drop(everything=True)) == 2_250
    assert await broker.dead.list() == []


async def test_retry_runs_from_the_first_attempt_on(broker: Broker, kill: Kill, clock: MovableClock) -> None:
    """What is retried has all its attempts again, cannot expire, and gives its waiter the new end."""
    is_mended = False
    attempts: list[int] = []

    @broker.task(name="flaky", retry=None, queue="mail")
    async def flaky(number: int) -> int:
        attempts.append(number)
        if not is_mended:
            raise ValueError("broken")
        return number

    handle = await flaky.options(expires=60, priority=4).kiq(7)
    async with working(broker):
        assert (await handle.result(timeout=5)).status is Status.FAILED
        clock.move(3600)
        is_mended = True
        retried = await broker.dead.retry(handle.id)
        assert (retried.ids, retried.refused) == ([handle.id], {})
        again = flaky.handle(handle.id)
        assert await again == 7
        assert (await again.result()).attempts == 1
    assert attempts == [7, 7]
    assert await broker.dead.list() == []


async def test_retry_answers_for_each(broker: Broker, kill: Kill, clock: MovableClock) -> None:
    """What cannot be put back is refused by id with the reason, and its letter stays; the others are put back."""
    a, b = await kill("task", ValueError("no"), count=2, result_ttl=60)
    clock.move(61)  # the results are gone, and the ids are free
    await broker.tasks["task"].options(id=b).kiq("another call")

    retried = await broker.dead.retry(a, "unknown", b)

    assert retried.ids == [a]
    assert retried.refused == {
        b: "its id or its unique key belongs to another call by now, not ended or with its result kept",
        "unknown": "there is no such dead letter (any more)",
    }
    assert [letter.id for letter in await broker.dead.list()] == [b]
    assert [counts.ready for counts in await broker.queue_counts()] == [2]


async def test_drop(broker: Broker, kill: Kill) -> None:
    """What is dropped is gone, and its result stays."""
    a, b, c = await kill("task", ValueError("no"), count=3)
    assert await broker.dead.drop(a, "unknown") == [a]
    assert await broker.dead.get(a) is None
    assert await broker.handle(a).status() is Status.FAILED
    assert sorted(await broker.dead.drop(task="task")) == sorted([b, c])
    assert await broker.dead.drop(everything=True) == []


async def test_letters_as_they_were_read(broker: Broker, kill: Kill) -> None:
    """Letters may be named by what was read; one whose call has died once more since then is another letter."""
    a, b = await kill("task", ValueError("no"), count=2)
    letter_b, letter_a = await broker.dead.list()
    assert (letter_a.id, letter_b.id) == (a, b)
    assert (await broker.dead.retry(letter_b)).ids == [b]
    async with working(broker, burst=True):
        pass
    assert await broker.dead.drop(letter_a, letter_b) == [a]
    retried = await broker.dead.retry(letter_b)
    assert (retried.ids, list(retried.refused)) == ([], [b])
    assert [letter.id for letter in await broker.dead.list()] == [b]


@pytest.mark.parametrize(
    ("ids", "options"),
    [((), {}), (("a",), {"task": "t"}), (("a",), {"everything": True}), ((), {"task": "t", "everything": True})],
)
async def test_which_are_meant_must_be_said(broker: Broker, ids: tuple[str, ...], options: dict[str, Any]) -> None:
    """Without ids, filters or everything=True, or with two of them, nothing is retried or dropped."""
    await bury(broker, "a")
    for method in (broker.dead.retry, broker.dead.drop):
        with pytest.raises(ConfigurationError, match="Say which dead letters are meant"):
            await method(*ids, **options)
    assert len(await broker.dead.list()) == 1


async def test_the_cap_is_a_setting(clock: MovableClock) -> None:
    """With dead_letter_cap=3 a queue keeps the last three letters; a cap of 0 is refused."""
    async with MemoryBroker(clock=clock, dead_letter_cap=3) as broker:
        await bury(broker, *"abcde")
        assert [letter.id for letter in await broker.dead.list()] == ["e", "d", "c"]
    with pytest.raises(ConfigurationError, match="dead_letter_cap is more than 0"):
        MemoryBroker(dead_letter_cap=0)


async def test_the_ttl_is_a_setting(clock: MovableClock) -> None:
    """A letter is kept for dead_letter_ttl seconds."""
    async with MemoryBroker(clock=clock, dead_letter_ttl=60) as broker:

        @broker.task(name="task", retry=None)
        async def task() -> None:
            raise ValueError("no")

        async with working(broker):
            await (await task.kiq()).result(timeout=5)
        clock.move(59)
        assert len(await broker.dead.list()) == 1
        clock.move(2)
        assert await broker.dead.list() == []


async def bury(broker: Broker, *ids: str) -> None:
    """Let messages of these ids die, in order."""
    transport = (await broker.open()).transport
    body = b'{"v":1,"id":"x","task":"t","args":[]}'
    await transport.publish([Envelope(id, "default", body.replace(b'"x"', f'"{id}"'.encode())) for id in ids])
    consumer = await transport.consumer("undertaker", ["default"], lease=60)
    while deliveries := await consumer.fetch({"default": 1_000}, 1_000, wait=False):
        await consumer.settle([letter_of(delivery) for delivery in deliveries])
    await consumer.leave()


def letter_of(delivery: Delivery) -> Dead:
    return Dead(delivery, Outcome(None), f"{delivery.id} failed", 60_000)
