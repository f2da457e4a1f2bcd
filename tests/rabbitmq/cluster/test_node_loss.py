"""One node of a cluster, or two, are gone: what goes on, what fails in time, and what is told."""

import asyncio
import time
from contextlib import suppress

import pytest

from asyncq import BrokerUnavailable, Handle, Queue, RabbitMQBroker, ResultMissing, Task
from asyncq.rabbitmq import replies
from asyncq.rabbitmq.names import Names
from tests.rabbitmq.cluster.clusters import (
    NEW_DEAD_LETTER_WORKERS,
    is_led,
    leader_of_delays,
    living,
    most_connected,
    queue_names,
    set_disconnected_timeout,
    set_tick_time,
)
from tests.rabbitmq.cluster.conftest import COMMAND_TIMEOUT
from tests.rabbitmq_servers import RabbitMQCluster
from tests.waiting import wait_until
from tests.working import working


async def test_delayed_tasks_come_while_a_node_stays_down(cluster: RabbitMQCluster, broker: RabbitMQBroker) -> None:
    """Once its dead-letter workers are started anew, even a server before 3.12.5 delivers all without the dead node."""
    ran: set[int] = set()

    @broker.task
    async def record(number: int) -> None:
        ran.add(number)

    delayed = record.options(delay=0.5)
    await asyncio.gather(*(delayed.kiq(number) for number in range(20)))
    for node in cluster.nodes:
        await asyncio.to_thread(node.flush)
    numbers = range(20, 1_000)
    await asyncio.gather(*(record.options(delay=0.5 + number / 400).kiq(number) for number in numbers))
    await asyncio.to_thread((await asyncio.to_thread(leader_of_delays, cluster)).kill)
    async with working(broker):
        await wait_until(lambda: is_led(cluster), "new leaders", timeout=30)
        for node in living(cluster):
            await asyncio.to_thread(node.evaluate, NEW_DEAD_LETTER_WORKERS)
        await wait_until(lambda: len(ran) == 1_000, "all of them to run", timeout=30)


async def test_a_reply_queue_dies_with_its_node(
    cluster: RabbitMQCluster, broker: RabbitMQBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits is told that the result may be lost; the next ones come; the queue that comes back is deleted."""
    monkeypatch.setattr(replies, "SILENCE", 1.0)

    @broker.task
    async def double(number: int) -> int:
        return 2 * number

    waiting = asyncio.create_task((await double.kiq(1)).result(timeout=60))
    address = broker.reply_address()
    home = await asyncio.to_thread(most_connected, cluster)
    await wait_until(lambda: names.reply(address) in queue_names(home), "the reply queue to be there")
    await asyncio.to_thread(home.flush)
    await asyncio.to_thread(home.kill)
    with pytest.raises(ResultMissing, match="the reply queue of this process was lost"):
        await waiting
    async with working(broker):
        assert await asyncio.wait_for(await _published(double, 2), 20) == 4
        await asyncio.to_thread(home.start)
        await wait_until(lambda: names.reply(address) not in queue_names(home), "the first queue to be deleted")
        assert names.reply(address, 1) in queue_names(home)
        assert await asyncio.wait_for(await _published(double, 3), 20) == 6


async def test_a_reply_queue_comes_back_with_its_node(
    cluster: RabbitMQCluster, broker: RabbitMQBroker, names: Names
) -> None:
    """What ends meanwhile is told when the node is back; or, as before 4.0, the waiter hears that it is lost."""
    is_down, has_ended = asyncio.Event(), asyncio.Event()

    @broker.task
    async def double(number: int) -> int:
        await is_down.wait()
        has_ended.set()
        return 2 * number

    async with working(broker):
        waiting = asyncio.create_task((await double.kiq(1)).result())
        address = broker.reply_address()
        home = await asyncio.to_thread(most_connected, cluster)
        await wait_until(lambda: names.reply(address) in queue_names(home), "the reply queue to be there")
        await asyncio.to_thread(home.flush)
        await asyncio.to_thread(home.kill)
        is_down.set()
        await has_ended.wait()
        await asyncio.to_thread(home.start)  # takes longer than what is refused is offered again by who publishes
        with suppress(ResultMissing):
            assert (await asyncio.wait_for(waiting, 40)).value == 2


async def test_a_priority_queue_is_on_one_node(cluster: RabbitMQCluster, namespace: str) -> None:
    """While its node is down, publishing says so in time; then what was confirmed runs."""
    urgent = Queue("urgent", max_priority=3)
    options = {"namespace": namespace, "queues": [urgent], "command_timeout": COMMAND_TIMEOUT}
    async with RabbitMQBroker(cluster.urls, **options) as broker:
        ran: set[int] = set()

        @broker.task(queue="urgent")
        async def record(number: int) -> None:
            ran.add(number)

        await record.kiq(1)
        home = await asyncio.to_thread(most_connected, cluster)
        await asyncio.to_thread(home.flush)
        await asyncio.to_thread(home.kill)
        with pytest.raises(BrokerUnavailable, match=r"home node .* is down|node is down"):  # words of 3.10, and of 4.0
            await record.kiq(2)
        await asyncio.to_thread(home.start)
        async with working(broker):
            await wait_until(lambda: ran == {1}, "what was confirmed to run", timeout=20)


async def test_without_a_quorum_nothing_is_confirmed(cluster: RabbitMQCluster, broker: RabbitMQBroker) -> None:
    """With two nodes of three down a publish fails in time; with one of them back it goes on."""

    @broker.task
    async def work(number: int) -> None: ...

    @broker.task(queue="other")
    async def undeclared(number: int) -> None: ...

    await work.kiq(1)
    for node in cluster.nodes:
        await asyncio.to_thread(node.flush)
    for node in cluster.nodes[:2]:
        await asyncio.to_thread(node.kill)
    for task in (work, undeclared):
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            await task.kiq(2)
        assert time.monotonic() - begun < 3 * COMMAND_TIMEOUT
    await asyncio.to_thread(cluster.nodes[0].start)
    await wait_until(lambda: _is_confirmed(work), "it to be confirmed again", timeout=30)


async def test_a_frozen_node_is_left(cluster: RabbitMQCluster, broker: RabbitMQBroker) -> None:
    """A node that stands still holds up publishing and consuming only until the others take it for dead."""
    ran: set[int] = set()

    @broker.task
    async def record(number: int) -> None:
        ran.add(number)

    await asyncio.to_thread(set_disconnected_timeout, cluster, 5)
    await asyncio.to_thread(set_tick_time, cluster, 4)
    async with working(broker):
        await record.kiq(1)
        await wait_until(lambda: ran == {1}, "the first to run")
        node = await asyncio.to_thread(most_connected, cluster)
        node.pause()
        await wait_until(lambda: _is_confirmed(record, 2), "it to be confirmed elsewhere", timeout=40)
        await wait_until(lambda: 2 in ran, "it to run", timeout=40)
        await asyncio.to_thread(node.kill)  # it would find that the others have gone on without it
    await asyncio.to_thread(set_tick_time, cluster, 60)
    await asyncio.to_thread(set_disconnected_timeout, cluster, 60)


async def _published(task: Task[[int], int], number: int) -> Handle[int]:
    """Publish as soon as that is possible."""
    while True:
        with suppress(BrokerUnavailable):
            return await task.kiq(number)


async def _is_confirmed(task: Task[[int], None], number: int = 0) -> bool:
    with suppress(BrokerUnavailable):
        await task.kiq(number)
        return True
    return False
