"""What fetching promises: what comes, how much, and in which order."""

import pytest

from asyncq.errors import LeaseLost
from asyncq.testing.conformance.stage import (
    LIMITS,
    OTHER_QUEUE,
    QUEUE,
    Process,
    Stage,
    body_of,
    finish,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Consumer, Delivery, Envelope

BOTH = {QUEUE: 100, OTHER_QUEUE: 100}


class FetchingSuite(Suite):
    """Order, limits, and consumers that compete."""

    @needs(has_priorities=True)
    async def test_larger_priorities_are_fetched_first(self, stage: Stage, process: Process) -> None:
        """All ten priorities come largest first, equal ones in the order of publishing."""
        await process.publish(*(Envelope(f"{n % 10}-{n // 10}", QUEUE, b"", n % 10) for n in range(20)))
        expected = [f"{priority}-{n}" for priority in range(9, -1, -1) for n in range(2)]
        assert await stage.fetch_ids(await process.consumer(), 20) == expected

    @needs(has_priorities=True)
    async def test_a_later_message_with_a_larger_priority_overtakes(self, stage: Stage, process: Process) -> None:
        """A message that is published between two fetches comes before all that wait with a smaller priority."""
        await process.publish_ids("a", "b", priority=1)
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        await process.publish_ids("urgent", priority=9)
        await process.publish_ids("later", priority=0)
        assert await stage.fetch_ids(consumer, 3) == ["urgent", "b", "later"]

    async def test_queues_are_asked_in_the_order_of_the_limits(self, stage: Stage, process: Process) -> None:
        """The first queue named is asked first, whatever the priorities in the others."""
        await process.publish_ids("mail")
        await process.publish_ids("report", queue=OTHER_QUEUE, priority=9)
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1, {QUEUE: 1, OTHER_QUEUE: 1}) == ["mail"]
        await process.publish_ids("mail-2")
        assert await stage.fetch_ids(consumer, 2, {OTHER_QUEUE: 1, QUEUE: 1}) == ["report", "mail-2"]

    async def test_no_more_is_fetched_than_the_limits_allow(self, stage: Stage, process: Process) -> None:
        """Each queue gives no more than its limit, all together no more than the count, and a queue with 0 nothing."""
        await process.publish_ids(*"abcde")
        await process.publish_ids(*"vwxyz", queue=OTHER_QUEUE)
        consumer = await process.consumer()
        parts = [
            await _fetch_within(consumer, {QUEUE: 2, OTHER_QUEUE: 1}, 3),
            await _fetch_within(consumer, {QUEUE: 2, OTHER_QUEUE: 2}, 4),
            await _fetch_within(consumer, {QUEUE: 0, OTHER_QUEUE: 5}, 2),
        ]
        assert [sum(id in "abcde" for id in part) for part in parts] == [2, 2, 0]
        assert len({id for part in parts for id in part}) == 9
        if process.transport.capabilities.keeps_place:
            assert parts == [["a", "b", "v"], ["c", "d", "w", "x"], ["y", "z"]]
        assert await consumer.fetch({QUEUE: 0, OTHER_QUEUE: 5}, 9, wait=False) == []

    async def test_each_delivery_has_a_token_of_its_own(self, stage: Stage, process: Process) -> None:
        """No two deliveries of a consumer have the same token, of one fetch over several queues or of several."""
        await process.publish_ids(*"abc")
        await process.publish_ids(*"xyz", queue=OTHER_QUEUE)
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 4, {QUEUE: 2, OTHER_QUEUE: 2})
        deliveries += await stage.fetch(consumer, 2, BOTH)
        assert len({delivery.token for delivery in deliveries}) == 6

    @needs(has_priorities=True)
    async def test_a_limit_holds_over_all_priorities(self, stage: Stage, process: Process) -> None:
        """A queue's limit is its total, not one for each priority."""
        await process.publish(*(Envelope(str(n), QUEUE, b"", n) for n in range(10)))
        consumer = await process.consumer()
        deliveries = await fetch_some(consumer, {QUEUE: 3}, 100)
        assert [delivery.id for delivery in deliveries] == ["9", "8", "7"]

    async def test_fetching_without_waiting_returns_at_once(self, process: Process) -> None:
        """With `wait=False` an empty queue gives nothing, and a full one what it has."""
        consumer = await process.consumer()
        assert list(await consumer.fetch(LIMITS, 10, wait=False)) == []
        await process.publish_ids("a")
        (delivery,) = await consumer.fetch(LIMITS, 10, wait=False)
        assert delivery.body == body_of("a")

    async def test_a_fetch_after_leaving_is_refused(self, process: Process) -> None:
        """Who has left is no member: fetching raises LeaseLost."""
        consumer = await process.consumer("worker")
        assert consumer.name == "worker"
        await consumer.leave()
        with pytest.raises(LeaseLost):
            await consumer.fetch(LIMITS, 1)

    async def test_competing_consumers_get_each_message_once(self, stage: Stage, process: Process) -> None:
        """Of 500 messages from two publishers, two consumers in other processes get each exactly once."""
        consumers = [await (await stage.process()).consumer() for _ in range(2)]
        fetched: list[str] = []

        async def consume(consumer: Consumer) -> None:
            while len(fetched) < 500:
                deliveries = await consumer.fetch({QUEUE: 7}, 7)
                fetched.extend(delivery.id for delivery in deliveries)
                await finish(consumer, deliveries)
            for waiting in consumers:
                await waiting.interrupt()

        async def publish(publisher: Process, start: int) -> None:
            for n in range(start, start + 250, 10):
                await publisher.publish_ids(*map(str, range(n, n + 10)))

        tasks = [stage.start(consume(consumer)) for consumer in consumers]
        tasks += [stage.start(publish(await stage.process(), start)) for start in (0, 250)]
        for task in tasks:
            await stage.outcome(task, "all to be published and fetched")
        assert sorted(fetched, key=int) == [str(n) for n in range(500)]

    async def test_namespaces_never_see_each_other(self, stage: Stage, process: Process) -> None:
        """The same id in another namespace is another message, with a record of its own."""
        stranger = await stage.process(namespace=f"{stage.namespace}-other")
        await process.publish_ids("a")
        if process.remembers:
            assert await stranger.look("a") is None
        assert sum(await stranger.counts()) == 0
        consumer = await stranger.consumer()
        assert list(await consumer.fetch(LIMITS, 1, wait=False)) == []
        await stranger.publish_ids("a")
        await finish(consumer, await stage.fetch(consumer, 1))
        assert (await process.counts()).ready == 1
        if process.remembers:
            sighting = await process.look("a")
            assert sighting is not None
            assert sighting.record is None

    async def test_time_is_told_by_the_server(self, stage: Stage, process: Process) -> None:
        """`now_ms` is within a second of what the server's clock shows."""
        assert abs(process.transport.now_ms() - stage.backend.now_ms()) < 1000


async def _fetch_within(consumer: Consumer, limits: dict[str, int], count: int) -> list[str]:
    """Fetch so many within the limits, in one call or in several, and return their ids by queue."""
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        left = {queue: limit - sum(each.queue == queue for each in deliveries) for queue, limit in limits.items()}
        fetched = await consumer.fetch(left, count - len(deliveries))
        assert all(sum(each.queue == queue for each in fetched) <= limit for queue, limit in left.items())
        deliveries += fetched
    return [delivery.id for delivery in sorted(deliveries, key=lambda delivery: delivery.queue)]


async def fetch_some(consumer: Consumer, limits: dict[str, int], count: int) -> list[Delivery]:
    """Fetch until something is returned: an empty return is allowed now and then."""
    deliveries: list[Delivery] = []
    while not deliveries:
        deliveries += await consumer.fetch(limits, count)
    return deliveries
