"""Limits: how many start in a time, how many run at once, and what to do about a 429."""

import asyncio
import time
from itertools import pairwise

import pytest

from asyncq import (
    Broker,
    ConcurrencyLimit,
    ConfigurationError,
    LimitExceeded,
    NotSupported,
    RateLimit,
    RetryPolicy,
    Status,
    Unique,
    broker_from_url,
)
from asyncq.turns import pass_turns
from tests.journeys.conftest import KINDS, MakeBroker
from tests.working import working

pytestmark = pytest.mark.usefixtures("rabbitmq_server")


@pytest.fixture(params=(*KINDS, "rabbitmq"))
def kind(request: pytest.FixtureRequest) -> str:
    """Every broker that keeps limits; RabbitMQ has a store beside it."""
    return request.param


async def test_calls_to_a_payment_api(broker: Broker, worker: None) -> None:
    """Each customer's calls keep to the API's limit; another customer's do not wait for them; no attempt is used."""
    starts: dict[int, list[float]] = {1: [], 2: []}

    @broker.task(rate_limit=RateLimit(2, per=0.4, key=lambda customer, **_: customer))
    async def charge(customer: int, amount: int = 5) -> None:
        starts[customer].append(time.monotonic())

    handles = await broker.kiq_many(charge.message(1) for _ in range(5))
    other = await charge.kiq(2)
    assert (await other.result(timeout=5)).status is Status.SUCCEEDED
    assert await handles[-1].status() is Status.QUEUED
    for handle in handles:
        result = await handle.result(timeout=5)
        assert (result.status, result.attempts) == (Status.SUCCEEDED, 1)
    spans = [later - earlier for earlier, later in zip(starts[1], starts[1][2:], strict=False)]
    assert min(spans) > 0.35
    assert starts[1][-1] - starts[1][0] < 2


async def test_an_answer_that_asks_to_wait(broker: Broker, worker: None) -> None:
    """A task that meets a 429 pauses its key for everybody; its retry and all others go on after that."""
    limit = broker.rate_limit("stripe", 100, per=1)
    calls: list[float] = []
    paused = asyncio.Event()

    @broker.task(rate_limit=RateLimit(100, per=1, name="stripe"), retry=RetryPolicy(delay=0))
    async def charge() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            await limit.pause(0.5)
            paused.set()
            raise OSError("429, Retry-After: 0.5")

    first = await charge.kiq()
    await paused.wait()
    second = await charge.kiq()
    await first
    await second
    assert min(calls[1:]) - calls[0] >= 0.45


async def test_one_import_per_customer_at_a_time(broker: Broker, worker: None) -> None:
    """Runs of one key never overlap, and start in order; those of another key run beside them."""
    running: set[int] = set()
    order: list[int] = []
    both = asyncio.Event()

    @broker.task(concurrency=ConcurrencyLimit(1, key=lambda customer, **_: customer))
    async def load(customer: int, number: int) -> None:
        assert customer not in running
        running.add(customer)
        if len(running) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)
        order.append(number)
        running.discard(customer)

    handles = await broker.kiq_many(load.message(customer, number) for number in range(5) for customer in (1, 2))
    for handle in handles:
        await handle
    assert order[::2] == sorted(order[::2])


async def test_a_limit_around_any_code(make_broker: MakeBroker) -> None:
    """Code outside of tasks waits for its turn, or is told after how long to come again."""
    async with make_broker() as broker:
        stripe = broker.rate_limit("stripe", 2, per=0.4)
        begin = time.monotonic()
        for _ in range(3):
            async with stripe:
                pass
        assert 0.35 < time.monotonic() - begin < 3
        await stripe.acquire(timeout=5)
        with pytest.raises(LimitExceeded, match=r"No turn of rate limit 'stripe' \(2 in 0.4 s\)") as caught:
            await stripe.acquire(timeout=0)
        assert 0 < caught.value.retry_after <= 0.5
        await stripe.change(100, per=1)
        await stripe.acquire(timeout=0)
        await stripe.reset()


async def test_a_slot_around_any_code(make_broker: MakeBroker) -> None:
    """No more run at once than there are slots, first come, first served, and each is called when one is free."""
    async with make_broker() as broker:
        reports = broker.concurrency_limit("reports", 2)
        most = running = 0
        order: list[int] = []

        async def report(number: int) -> None:
            nonlocal most, running
            async with reports:
                order.append(number)
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.02)  # a slot is held for so long: one too many would start meanwhile
                running -= 1

        async with reports:
            pass  # declares the limit, which would hold up the first: others would be asked for before it
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(report(number))
                await pass_turns()  # they come one after another: that is the order that is kept
        assert most == 2
        assert order == sorted(order)
        async with reports, reports:
            with pytest.raises(LimitExceeded):
                async with reports.acquire(timeout=0.05):
                    pass


async def test_wrong_values(broker: Broker) -> None:
    """What cannot be kept to is refused where it is declared, with what to write."""
    with pytest.raises(ConfigurationError, match="limit= is a whole number from 1"):
        RateLimit(0, per=1)
    with pytest.raises(ConfigurationError, match="per= is a number of seconds"):
        RateLimit(1, per=0)
    with pytest.raises(ConfigurationError, match="burst= only lowers"):
        RateLimit(1, per=1, burst=2)
    with pytest.raises(ConfigurationError, match="key= is a function"):
        RateLimit(1, per=1, key="user_id")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match="n= is a whole number"):
        ConcurrencyLimit(True)
    with pytest.raises(ConfigurationError, match="without spaces"):
        ConcurrencyLimit(1, name="two words")
    with pytest.raises(ConfigurationError, match=r"rate_limit= is a RateLimit.*got 5"):
        broker.task(rate_limit=5)(lambda: None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ConfigurationError, match="local_concurrency"):
        broker.task(rate_limit=RateLimit(1, per=1), local_concurrency=1)

    with pytest.raises(ConfigurationError, match=r"called with all arguments by name \(user_id, text\)"):

        @broker.task(rate_limit=RateLimit(1, per=1, key=lambda user_id: user_id))
        async def send(user_id: int, text: str) -> None: ...

    @broker.task(name="weigh", rate_limit=RateLimit(5, per=1, weight=lambda size: size, key=lambda size: None))
    async def weigh(size: int) -> None: ...

    with pytest.raises(TypeError, match="returned None"):
        await weigh.kiq(1)

    broker.rate_limit("stripe", 100, per=60)
    with pytest.raises(ConfigurationError, match=r"rate limit 'stripe' \(5 in 1 s\); elsewhere"):
        broker.rate_limit("stripe", 5, per=1)


async def test_where_there_are_no_limits() -> None:
    """A broker that keeps no limits says so when a task that needs one is declared."""
    broker = broker_from_url("amqp://localhost")
    with pytest.raises(NotSupported, match=r"limits of task 'work'.*keeps no limits"):

        @broker.task(name="work", rate_limit=RateLimit(1, per=1))
        async def work() -> None: ...

    with pytest.raises(NotSupported):
        broker.concurrency_limit("reports", 1)


async def test_a_message_from_a_producer_without_the_limit(make_broker: MakeBroker) -> None:
    """A message that was published before its task had a limit keeps to it all the same."""
    old, new = make_broker(), make_broker()
    if "memory" in old.describe():
        pytest.skip("one process has one declaration")
    starts: list[float] = []

    @old.task(name="work")
    async def before() -> None: ...

    @new.task(name="work", rate_limit=RateLimit(1, per=0.3))
    async def work() -> None:
        starts.append(time.monotonic())

    async with old, new:
        handles = [await before.kiq() for _ in range(3)]
        async with working(new):
            for handle in handles:
                assert (await handle.result(timeout=5)).attempts == 1
    assert min(later - earlier for earlier, later in pairwise(starts)) > 0.25


async def test_an_expired_message_from_a_producer_without_the_limit(make_broker: MakeBroker) -> None:
    """What came without its limit, and expires in its line, uses no turn either."""
    old, new = make_broker(), make_broker()
    if "memory" in old.describe():
        pytest.skip("one process has one declaration")

    @old.task(name="work", expires=0.3)
    async def before() -> None: ...

    @new.task(name="work", rate_limit=RateLimit(1, per=60))
    async def work() -> None: ...

    async with old, new, working(new):
        await (await work.kiq()).result(timeout=5)
        expiring = await before.kiq()
        limit = new.rate_limit("work", 1, per=60)
        with pytest.raises(LimitExceeded):
            await limit.acquire(timeout=1.7)
        await limit.change(2, per=60)
        assert (await expiring.result(timeout=5)).status is Status.EXPIRED
        assert (await (await work.kiq()).result(timeout=5)).status is Status.SUCCEEDED


async def test_waiting_for_a_slot_of_ones_own(broker: Broker, worker: None) -> None:
    """A run that awaits a call which needs the slot it holds is told so, instead of waiting for ever."""

    @broker.task(concurrency=ConcurrencyLimit(2, key=lambda depth: "tree"), retry=None)
    async def walk(depth: int) -> None:
        if depth:
            await (await walk.kiq(depth - 1))

    result = await (await walk.kiq(1)).result(timeout=5)
    assert isinstance(result.error, ConfigurationError)
    assert "would wait for each other for ever" in str(result.error)


async def test_keep_the_last_of_each_account(broker: Broker, worker: None) -> None:
    """One runs and one waits in the line of its account, with the latest arguments; another account has its own."""
    may_end = {1: asyncio.Event(), 2: asyncio.Event()}
    started = {1: asyncio.Event(), 2: asyncio.Event()}
    runs: list[tuple[int, int]] = []

    @broker.task(
        concurrency=ConcurrencyLimit(1, key=lambda account, **_: account),
        unique=Unique(by=("account",), until="started", on_duplicate="replace"),
    )
    async def sync(account: int, version: int) -> int:
        runs.append((account, version))
        started[account].set()
        await may_end[account].wait()
        return version

    running = await sync.kiq(1, 1)
    await started[1].wait()
    waiting = [await sync.kiq(1, version) for version in (2, 3, 4)]
    assert [handle.is_new for handle in waiting] == [True, False, False]
    other = await sync.kiq(2, 1)
    await started[2].wait()
    assert await waiting[0].status() is Status.QUEUED
    for event in may_end.values():
        event.set()
    assert (await running, await waiting[0], await waiting[2], await other) == (1, 4, 4, 1)
    assert runs == [(1, 1), (2, 1), (1, 4)]
    assert await broker.unique_keys() == []


async def test_a_call_that_is_replaced_changes_lines(broker: Broker, worker: None) -> None:
    """A call that waits for one count of a limit waits for another one's when its new arguments say so."""
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.task(
        concurrency=ConcurrencyLimit(1, key=lambda host, **_: host),
        unique=Unique(by=("page",), until="started", on_duplicate="replace"),
    )
    async def crawl(page: str, host: str) -> str:
        if page == "first":
            started.set()
            await may_end.wait()
        return host

    running = await crawl.kiq("first", "a")
    await started.wait()
    waiting = await crawl.kiq("second", "a")
    behind = await crawl.kiq("third", "a")
    assert (await crawl.kiq("second", "b")).id == waiting.id
    assert await asyncio.wait_for(waiting, 5) == "b"
    assert await behind.status() is Status.QUEUED
    may_end.set()
    assert (await running, await behind) == ("a", "a")


async def test_a_call_in_line_is_rescheduled(broker: Broker, worker: None) -> None:
    """A call that waits for a slot can be put off, and called back; it leaves its line, and stands in it again."""
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.task(concurrency=ConcurrencyLimit(1))
    async def report(number: int) -> int:
        started.set()
        await may_end.wait()
        return number

    running = await report.kiq(1)
    await started.wait()
    put_off, next_one = await report.kiq(2), await report.kiq(3)
    assert await put_off.reschedule(delay=600)
    assert await put_off.status() is Status.SCHEDULED
    may_end.set()
    assert (await running, await next_one) == (1, 3)
    assert await put_off.reschedule(delay=0)
    assert await asyncio.wait_for(put_off, 5) == 2
