"""What a fetch that waits promises: it is woken by what arrives, and loses nothing when it ends."""

import asyncio

import pytest

from asyncq.testing.conformance.fetching import BOTH, fetch_some
from asyncq.testing.conformance.stage import A_MOMENT, LIMITS, OTHER_QUEUE, QUEUE, SOON, Process, Stage, finish
from asyncq.testing.conformance.suite import Suite
from asyncq.turns import pass_turns


class AwaitingSuite(Suite):
    """Being woken, interrupted, and cancelled."""

    @pytest.mark.parametrize("queue", [QUEUE, OTHER_QUEUE])
    async def test_a_waiting_fetch_is_woken_by_a_publish(self, stage: Stage, process: Process, queue: str) -> None:
        """A fetch that waits is woken soon by what another process publishes to any of its queues."""
        other = await stage.process()
        consumer = await process.consumer()
        fetching = stage.start(fetch_some(consumer, BOTH, 10))
        await stage.backend.pass_time(A_MOMENT)
        assert not fetching.done()
        published_ms = stage.backend.now_ms()
        await other.publish_ids("a", queue=queue)
        assert [delivery.id for delivery in await stage.outcome(fetching, "the publish to wake")] == ["a"]
        assert stage.backend.now_ms() - published_ms < SOON * 1000

    async def test_every_waiting_consumer_is_woken(self, stage: Stage, process: Process) -> None:
        """Two consumers that wait each get one of two messages when each takes one: none sleeps on what is ready."""
        consumers = [await process.consumer(), await (await stage.process()).consumer()]
        fetching = [stage.start(fetch_some(consumer, {QUEUE: 1}, 1)) for consumer in consumers]
        await stage.backend.pass_time(A_MOMENT)
        await process.publish_ids("a", "b")
        fetched = [await stage.outcome(task, "every consumer to be woken") for task in fetching]
        assert sorted(delivery.id for (delivery,) in fetched) == ["a", "b"]

    async def test_a_queue_that_is_not_asked_does_not_end_the_wait(self, stage: Stage, process: Process) -> None:
        """What arrives in a queue with limit 0 stays there; a fetch goes on to wait for the others."""
        consumer = await process.consumer()
        fetching = stage.start(fetch_some(consumer, {QUEUE: 0, OTHER_QUEUE: 5}, 5))
        await stage.backend.pass_time(A_MOMENT)
        await process.publish_ids("a")
        await process.publish_ids("b", queue=OTHER_QUEUE)
        assert [delivery.id for delivery in await stage.outcome(fetching, "b")] == ["b"]
        assert await stage.fetch_ids(consumer, 1) == ["a"]

    async def test_an_interrupted_fetch_returns_and_loses_nothing(self, stage: Stage, process: Process) -> None:
        """`interrupt` ends the wait with nothing in hand; what is published then is fetched by the next call."""
        consumer = await process.consumer()
        fetching = stage.start(consumer.fetch(LIMITS, 10))
        await stage.backend.pass_time(A_MOMENT)
        await consumer.interrupt()
        assert list(await stage.outcome(fetching, "the interrupted fetch to return")) == []
        await process.publish_ids("a")
        assert await stage.fetch_ids(consumer, 1) == ["a"]

    async def test_interrupting_nobody_is_no_trouble(self, stage: Stage, process: Process) -> None:
        """An interrupt while no fetch waits takes nothing from the next ones."""
        consumer = await process.consumer()
        await consumer.interrupt()
        await consumer.interrupt()
        await process.publish_ids("a", "b")
        assert await stage.fetch_ids(consumer, 2) == ["a", "b"]

    async def test_a_cancelled_fetch_loses_nothing(self, stage: Stage, process: Process) -> None:
        """Whatever arrives as a waiting fetch is cancelled is fetched later, at the latest when the consumer left."""
        for n in range(10):
            consumer = await process.consumer()
            fetching = stage.start(fetch_some(consumer, LIMITS, 10))
            await stage.backend.pass_time(A_MOMENT if n % 2 else 0)
            publishing = stage.start(process.publish_ids(str(n)))
            await pass_turns(n)  # so that each is cancelled at another moment
            fetching.cancel()
            await asyncio.wait({fetching, publishing})
            fetched = [] if fetching.cancelled() else list(fetching.result())
            if not fetched:
                await consumer.leave()
                consumer = await process.consumer()
                fetched = await stage.fetch(consumer, 1)
            assert [(delivery.id, delivery.crashes) for delivery in fetched] == [(str(n), 0)]
            await finish(consumer, fetched)
