"""What befalls a RabbitMQ node: it is killed, stopped, frozen, short of memory or disk, while workers go on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from asyncq import BrokerUnavailable, RetryPolicy, Status, broker_from_url
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.outages import messages_in
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq_servers import RabbitMQServer
from tests.waiting import wait_until

LATER = RetryPolicy(max_attempts=2, delay=2, jitter=False)


@pytest.fixture(params=["rabbitmq", "rabbitmq alone"])
def kind(request: pytest.FixtureRequest) -> str:
    """RabbitMQ, with its store and without one."""
    return request.param


@pytest.fixture
async def hasty(publisher: Publisher, url: str, namespace: str, options: dict[str, Any]) -> AsyncIterator[Publisher]:
    """Another publisher, connected before anything happens, which gives the broker one second."""
    async with broker_from_url(url, namespace=namespace, command_timeout=1, **options) as broker:
        hasty = Publisher(broker)
        await hasty.wait.options(delay=0.1).kiq("first", 0)
        yield hasty


async def assert_refused_in_time(publisher: Publisher, said: str) -> None:
    """Fail unless publishing raises within its second."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    with pytest.raises(BrokerUnavailable, match=said):
        await publisher.wait.kiq("perhaps", 0)  # what was sent may be published all the same
    assert loop.time() - asked_at < 2


@asynccontextmanager
async def away(node: RabbitMQServer, how: str) -> AsyncIterator[None]:
    """Have no node for a while."""
    if how == "frozen":
        await asyncio.to_thread(node.pause)
        yield
        await asyncio.to_thread(node.resume)
    else:
        await asyncio.to_thread(node.flush)
        await asyncio.to_thread(node.kill if how == "killed" else node.stop)
        yield
        await asyncio.to_thread(node.start)


@pytest.mark.timeout(300)  # mostly 12 s: a node that starts may put off what is delayed for three minutes
@pytest.mark.parametrize("how", ["killed", "stopped", "frozen"])
async def test_an_outage(
    publisher: Publisher,
    effects: Effects,
    asyncq: StartProgram,
    node: RabbitMQServer,
    hasty: Publisher,
    kind: str,
    how: str,
) -> None:
    """What waits, is delayed, runs, ends meanwhile or is to be retried: each has run once after the outage."""
    retried = await publisher.fail.options(retry=LATER).kiq("retried")
    running = [f"running-{number}" for number in range(6)]
    handles = [await publisher.hold.kiq(name) for name in running]
    effects.let_go_on("retried")
    worker = await started(asyncq, "--lease", "1", "--concurrency", "7")
    await effects.wait_for(*running, "retried-ended", "first")
    names = [*running, "filler", *(f"queued-{number}" for number in range(5))]
    handles += [await publisher.hold.kiq(name) for name in names[6:]]
    delayed = [await publisher.wait.options(delay=2).kiq(f"delayed-{number}", 0) for number in range(2)]
    await effects.wait_for("filler")

    async def is_settled() -> bool:
        return await messages_in(node, publisher.broker.namespace) == 1 + len(names) + 2

    await wait_until(is_settled, "the first attempt is settled")
    async with away(node, how):
        effects.let_go_on(*names[:3])
        await assert_refused_in_time(hasty, "RabbitMQ")
        await asyncio.sleep(2)  # the outage itself

    effects.let_go_on(*names[3:])
    async with asyncio.timeout(200):
        assert await results_of([*handles, *delayed]) == [worker.pid] * (len(names) + 2)
        assert (await retried.result()).attempts == 2
    await effects.wait_for("retried-reported")
    await stopped(worker)
    assert effects.count_of("retried-ended", "retried-reported") == [2, 1]
    # What nobody has confirmed in time is published again; without a store the copies are not told apart.
    once = names[:7] if (kind, how) == ("rabbitmq alone", "frozen") else names
    assert effects.count_of(*once) == [1] * len(once)
    if kind == "rabbitmq":
        assert effects.count_of("delayed-0", "delayed-1") == [1, 1]


@contextmanager
def alarm(node: RabbitMQServer, what: str) -> Iterator[None]:
    """Let a node be short of something."""
    begin, end = {
        "memory": (node.block_publishers, node.unblock_publishers),
        "disk": (node.fill_disk, node.empty_disk),
    }[what]
    try:
        begin()
        yield
    finally:
        end()  # others go on with this node


@pytest.mark.parametrize("what", ["memory", "disk"])
async def test_an_alarm(
    publisher: Publisher,
    effects: Effects,
    asyncq: StartProgram,
    node: RabbitMQServer,
    hasty: Publisher,
    kind: str,
    what: str,
) -> None:
    """While the node is short of memory or disk publishing raises in time, and workers settle what they run."""
    held = [await publisher.hold.kiq(name) for name in "ab"]
    worker = await started(asyncq, "--lease", "1", "--concurrency", "3")
    await effects.wait_for("a", "b", "first")
    numbers = [*range(20)]
    for number in numbers:
        await publisher.work.options(store_result=False).kiq(number)

    with alarm(node, what):
        await assert_refused_in_time(hasty, "short of memory or of disk")
        await wait_until(lambda: effects.count_of(*map(str, numbers)) == [1] * 20, "all that waited has run")

        async def is_settled() -> bool:
            return await messages_in(node, publisher.broker.namespace) == len(held)

        await wait_until(is_settled, "it is settled")
        effects.let_go_on("a", "b")
        if kind == "rabbitmq":
            async with asyncio.timeout(5):
                assert await results_of(held) == [worker.pid] * 2
    async with asyncio.timeout(10):
        assert await results_of(held) == [worker.pid] * 2
        last = await (await publisher.wait.kiq("last", 0)).result()
    assert last.status is Status.SUCCEEDED
    await stopped(worker)
    assert effects.count_of("a", "b", "last", *map(str, numbers)) == [1] * 23
