"""RabbitMQ with a store: one of the two is lost, and what is in one of them."""

import asyncio

import pytest

from asyncq import BrokerUnavailable, ResultTimeout, Status
from asyncq.rabbitmq.names import Names
from tests.cli.programs import StartProgram
from tests.promises.drained import assert_drained
from tests.promises.effects import Effects
from tests.promises.pair import Pair
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.rabbitmq.publishers import bare_channel


@pytest.fixture
def kind() -> str:
    """With a store."""
    return "rabbitmq"


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_the_store_is_away(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, server: Pair, url: str, how: str
) -> None:
    """For three leases nothing starts, what runs goes on, and calls are published; then all of it runs, once."""
    running = [await publisher.hold.kiq(name) for name in "abcd"]
    workers = [await started(asyncq, "--lease", "1", "--concurrency", "3") for _ in range(2)]
    await effects.wait_for(*"abcd")
    store = server.store
    await asyncio.to_thread(store.kill if how == "killed" else store.pause)
    effects.let_go_on("a", "b")
    queued = [await publisher.work.kiq(number) for number in range(20)]
    with pytest.raises(BrokerUnavailable):
        await publisher.work.options(id="order-1").kiq(20)
    await asyncio.sleep(3.2)  # the outage itself
    assert effects.count() == 4
    await asyncio.to_thread(store.start if how == "killed" else store.resume)
    effects.let_go_on("c", "d")
    async with asyncio.timeout(15):
        assert {*await results_of(running)} <= {worker.pid for worker in workers}
        assert await results_of(queued) == [2 * number for number in range(20)]
    assert {len(pids) for pids in effects.runs().values()} == {1}
    await stopped(*workers)
    await assert_drained(publisher, url)


async def test_a_queue_that_is_deleted(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str, namespace: str
) -> None:
    """The server cancels the consumers of a queue that is deleted: it is made anew, and what runs goes on, once."""
    worker = await started(asyncq, "--lease", "1", "--concurrency", "2")
    held = await publisher.hold.kiq("held")
    await effects.wait_for("held")
    async with bare_channel(url) as channel:
        await channel.queue_delete(Names(namespace).queue("default"))
    await worker.says("has ended the consumer of queue 'default'")
    assert await asyncio.wait_for(await publisher.work.kiq(1), 10) == 2
    effects.let_go_on("held")
    assert await asyncio.wait_for(held, 10) == worker.pid
    await stopped(worker)
    assert effects.count_of("held", "1") == [1, 1]


async def test_a_queue_that_is_purged(
    publisher: Publisher, effects: Effects, asyncq: StartProgram, url: str, namespace: str
) -> None:
    """A call whose message an operator has thrown away is known still, and waited for until it is cancelled."""
    gone = await publisher.work.kiq(1)
    async with bare_channel(url) as channel:
        await channel.queue_purge(Names(namespace).queue("default"))
    worker = await started(asyncq)
    assert await asyncio.wait_for(await publisher.work.kiq(2), 10) == 4
    with pytest.raises(ResultTimeout):
        await gone.result(timeout=0.1)
    assert await gone.status() is Status.QUEUED
    assert await gone.cancel()
    assert (await gone.result()).status is Status.CANCELLED
    await stopped(worker)
    assert effects.count_of("1", "2") == [0, 1]
