"""Unique calls: one of a key at a time, throttled, debounced, and the last one kept."""

import asyncio
from typing import Any

import pytest

from asyncq import Broker, ConfigurationError, DuplicateId, Every, RetryPolicy, Status, Unique
from asyncq.tasks.failed import FailedCall
from tests.journeys.conftest import KINDS, MakeBroker
from tests.waiting import wait_until
from tests.working import working

pytestmark = pytest.mark.usefixtures("rabbitmq_server")


@pytest.fixture(params=[*KINDS, "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    """On RabbitMQ with a store, too."""
    return request.param


async def test_one_at_a_time(broker: Broker, worker: None) -> None:
    """While a customer's import waits or runs, another is its handle; when it has ended, the next is published."""
    may_end = asyncio.Event()
    runs: list[int] = []

    @broker.task(unique=Unique(by=("customer",)))
    async def run_import(customer: int, file: str = "new.csv") -> str:
        runs.append(customer)
        await may_end.wait()
        return file

    first = await run_import.kiq(42, "a.csv")
    second = await run_import.kiq(42, "b.csv")
    other = await run_import.kiq(43)
    assert (first.is_new, second.is_new, other.is_new) == (True, False, True)
    assert second.id == first.id
    may_end.set()
    assert (await second, await other) == ("a.csv", "new.csv")
    third = await run_import.kiq(42, "b.csv")
    assert third.is_new
    assert await third == "b.csv"
    assert sorted(runs) == [42, 42, 43]
    assert await broker.unique_keys() == []


async def test_a_retry_is_no_duplicate(broker: Broker, worker: None) -> None:
    """A call that is tried again has its key still, and is not its own duplicate."""
    attempts = 0

    @broker.task(unique=Unique(), retry=RetryPolicy(max_attempts=3, delay=0.05))
    async def flaky(x: int) -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise OSError("not yet")
        return x

    handle = await flaky.kiq(1)

    async def is_retrying() -> bool:
        return await handle.status() is Status.RETRYING or attempts > 1

    await wait_until(is_retrying, "the first attempt has failed")
    assert not (await flaky.kiq(1)).is_new or attempts == 3
    assert await handle == 1
    assert attempts == 3


async def test_raise(broker: Broker) -> None:
    """Where it is said so, a second call raises, and names the key and the call that has it."""

    @broker.task(name="report", unique=Unique(by=lambda day, **_: day, on_duplicate="raise"))
    async def report(day: str, full: bool = False) -> None: ...

    first = await report.kiq("monday")
    with pytest.raises(DuplicateId, match=f"Unique key 'report:monday' is taken by call '{first.id}'"):
        await report.kiq("monday", full=True)
    assert (await report.kiq("tuesday")).is_new
    assert (await report.options(unique=None).kiq("monday")).is_new


async def test_in_a_batch(broker: Broker) -> None:
    """A batch is read in its order: of equal calls the first is published, the others are its handles."""

    @broker.task(unique=Unique(by=("n",)))
    async def work(n: int, text: str) -> str:
        return text

    handles = await broker.kiq_many(work.message(i % 3, f"{i}") for i in range(9))
    assert [handle.is_new for handle in handles] == [True] * 3 + [False] * 6
    assert [handle.id for handle in handles] == [handle.id for handle in handles[:3]] * 3
    async with working(broker, burst=True):
        assert await asyncio.gather(*handles) == ["0", "1", "2"] * 3


async def test_throttle(broker: Broker, worker: None) -> None:
    """With a number of seconds a key is published once in that time, whatever has become of its call."""

    @broker.task(unique=Unique(until=1.5))
    async def ping(host: str) -> str:
        return host

    first = await ping.kiq("a")
    assert await first == "a"
    second = await ping.kiq("a")
    assert (second.is_new, second.id, await second) == (False, first.id, "a")
    (owner,) = await broker.unique_keys()
    assert owner.ends_at is not None

    async def is_free() -> bool:
        return await broker.unique_keys() == []

    await wait_until(is_free, "the time is over")
    assert (await ping.kiq("a")).is_new


async def test_debounce(broker: Broker, worker: None) -> None:
    """Of 1,000 calls in a row one runs, once there is silence, with the last arguments; all handles are its own."""
    runs: list[tuple[int, int]] = []

    @broker.task(unique=Unique(by=("document",), until="started", on_duplicate="debounce"))
    async def index(document: int, version: int) -> int:
        runs.append((document, version))
        return version

    later = index.options(delay=0.6)
    first = await later.kiq(7, 0)
    handles = await broker.kiq_many(later.message(7, version) for version in range(1, 999))
    last = await later.kiq(7, 999)
    assert first.is_new
    assert not any(handle.is_new for handle in (*handles, last))
    assert await last == await first == 999
    assert runs == [(7, 999)]
    assert (await later.kiq(7, 1_000)).is_new


async def test_a_batch_that_is_published_again(broker: Broker) -> None:
    """Messages of one key that are published again, as after an outage, find their call, with the last arguments."""

    @broker.task(unique=Unique(by=("document",), until="started", on_duplicate="debounce"))
    async def index(document: int, version: int) -> int:
        return version

    later = index.options(delay=0.1)
    messages = [later.message(7, version) for version in range(3)]
    handles = [*await broker.kiq_many(messages), *await broker.kiq_many(messages)]
    assert [handle.is_new for handle in handles] == [True] + [False] * 5
    assert len({handle.id for handle in handles}) == 1
    async with working(broker):
        assert await handles[0] == 2


async def test_debounce_has_an_end(broker: Broker, worker: None) -> None:
    """What is called for ever runs all the same, `longest` seconds after its first call."""

    @broker.task(unique=Unique(by=("document",), until="started", on_duplicate="debounce", longest=0.5))
    async def index(document: int, version: int) -> int:
        return version

    first = await index.options(delay=60).kiq(7, 0)
    await index.options(delay=60).kiq(7, 1)
    assert (await first.result(timeout=10)).value == 1


async def test_debounce_needs_a_delay(broker: Broker) -> None:
    """A debounced call without a delay says where to write it."""

    @broker.task(name="index", unique=Unique(until="started", on_duplicate="debounce"))
    async def index(document: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"say for how long, with index\.options\(delay=5\)\.kiq"):
        await index.kiq(7)


async def test_keep_the_last(broker: Broker, worker: None) -> None:
    """One waits at most beside the one that runs, and it is the latest."""
    started, may_end = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @broker.task(unique=Unique(by=lambda **_: "all", until="started", on_duplicate="replace"), local_concurrency=1)
    async def sync(version: int) -> int:
        runs.append(version)
        started.set()
        await may_end.wait()
        return version

    running = await sync.kiq(1)
    await started.wait()
    # Scheduled, so that it waits in the broker and not in the worker until it may run.
    waiting = [await sync.options(delay=2).kiq(version) for version in (2, 3, 4)]
    assert [handle.is_new for handle in waiting] == [True, False, False]
    may_end.set()
    assert (await running, await waiting[0], await waiting[2]) == (1, 4, 4)
    assert runs == [1, 4]


async def test_cancelled_and_cleared(broker: Broker) -> None:
    """A key goes with its call when that is cancelled; and can be cleared, which leaves the call as it is."""

    @broker.task(name="work", unique=Unique())
    async def work(n: int) -> int:
        return n

    first = await work.kiq(1)
    assert [(each.key, each.id) for each in await broker.unique_keys("work:")] == [("work:1", first.id)]
    assert await first.cancel()
    assert await broker.unique_keys() == []
    second = await work.kiq(1)
    assert second.is_new
    assert await broker.clear_unique("work:1")
    assert not await broker.clear_unique("work:1")
    third = await work.kiq(1)
    assert third.is_new
    async with working(broker, burst=True):
        assert await asyncio.gather(second, third) == [1, 1]
    assert await broker.unique_keys() == []


async def test_expired(broker: Broker) -> None:
    """A call that expires gives its key back."""

    @broker.task(unique=Unique())
    async def work() -> None: ...

    handle = await work.options(expires=0.05).kiq()
    assert (await handle.result(timeout=5)).status is Status.EXPIRED
    assert (await work.kiq()).is_new


async def test_dead_and_back(broker: Broker) -> None:
    """A call that has failed for good gives its key back; it runs again only while nobody else has it."""

    @broker.task(unique=Unique(), retry=None)
    async def work(n: int) -> None:
        raise ValueError("no")

    first = await work.kiq(1)
    async with working(broker, burst=True):
        await first.result()
    second = await work.kiq(1)
    assert second.is_new
    retried = await broker.dead.retry(first.id)
    assert "unique key" in retried.refused[first.id]
    await second.cancel()
    assert (await broker.dead.retry(first.id)).ids == [first.id]
    assert (await work.kiq(1)).id == first.id


async def test_from_another_process(make_broker: MakeBroker) -> None:
    """Another process gets the handle of the call, and its result."""
    async with make_broker() as here, make_broker() as there:
        brokers = [here, here] if type(here).__name__ == "MemoryBroker" else [here, there]
        tasks = [each.task(name="work", unique=Unique())(_work) for each in dict.fromkeys(brokers)]
        first = await tasks[0].kiq("x")
        second = await tasks[-1].kiq("x")
        assert (second.id, second.is_new) == (first.id, False)
        async with working(here, burst=True):
            assert await second == "x"


async def _work(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"by": "user_id"}, r"by=\('user_id',\)"),
        ({"by": ()}, "got \\(\\)"),
        ({"by": (1,)}, "names of parameters"),
        ({"until": "ended"}, "'started', 'finished' or a number of seconds"),
        ({"until": 0}, "0.001 or more"),
        ({"until": True}, "got True"),
        ({"on_duplicate": "ignore"}, "'return_existing', 'raise', 'replace', 'debounce'"),
        ({"until": 60, "on_duplicate": "debounce"}, "names two times"),
        ({"longest": 5}, "bounds a debounce"),
        ({"on_duplicate": "debounce", "longest": 0}, "longest="),
    ],
)
def test_wrong_values(wrong: dict[str, object], text: str) -> None:
    """What makes no sense is refused where it is written."""
    with pytest.raises(ConfigurationError, match=text):
        Unique(**wrong)  # type: ignore[arg-type]


async def test_wrong_declarations(broker: Broker) -> None:
    """So is what does not fit its task."""
    with pytest.raises(ConfigurationError, match=r"takes no argument 'user'\. It takes 'user_id'"):

        @broker.task(unique=Unique(by=("user",)))
        async def work(user_id: int) -> None: ...

    with pytest.raises(ConfigurationError, match="unique= is a Unique"):
        broker.task(unique="user_id")  # type: ignore[call-overload]

    with pytest.raises(ConfigurationError, match="overlap=False"):

        @broker.task(unique=Unique(), schedule=Every(60))
        async def nightly() -> None: ...

    @broker.task(unique=Unique())
    async def tell(call: FailedCall) -> None: ...

    with pytest.raises(ConfigurationError, match="is unique: of two failures it would be told of one"):

        @broker.task(on_failure=tell)
        async def fails() -> None: ...


async def test_what_is_no_key(broker: Broker) -> None:
    """A function that returns no text, or raises, is an error of `kiq`."""

    def key(n: int) -> Any:
        return 1 / n - 1 or None

    @broker.task(name="work", unique=Unique(by=key))
    async def work(n: int) -> None: ...

    with pytest.raises(TypeError, match="has to return a text or a whole number; it returned None"):
        await work.kiq(1)
    with pytest.raises(ZeroDivisionError):
        await work.kiq(0)


async def test_long_and_strange_keys(broker: Broker) -> None:
    """Keys of any length and text tell calls apart."""

    @broker.task(unique=Unique())
    async def work(text: str, *rest: int, **more: str) -> None: ...

    calls = [("x" * 5_000,), ("x" * 4_999,), ("é\n{*}[a]?",), ("a", 1), ("a", 1, 2)]
    handles = [await work.kiq(*call) for call in calls] + [await work.kiq("a", b="c"), await work.kiq("a", c="c")]
    assert all(handle.is_new for handle in handles)
    again = [await work.kiq(*call) for call in calls] + [await work.kiq("a", b="c"), await work.kiq("a", c="c")]
    assert [handle.id for handle in again] == [handle.id for handle in handles]
    assert max(len(owner.key) for owner in await broker.unique_keys()) < 300
