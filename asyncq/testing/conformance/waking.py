"""What is promised to consumers that wait: whoever has a slot starts what is due in time, whatever the others do."""

from asyncq.terms import Terms
from asyncq.testing.conformance.granting import PER, allow, limited
from asyncq.testing.conformance.onlooker import QUEUE
from asyncq.testing.conformance.stage import LIMITS, OTHER_QUEUE, SOON, Process, Stage
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Consumer, Delivery, Envelope

A_MOMENT = 0.05
"""Seconds in which a fetch has come to wait."""


class WakingSuite(Suite):
    """Consumers that wait beside others that have no slot left."""

    async def test_what_is_due_second_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """A message that is due behind another queue's wakes who waits for both, also when that one went elsewhere."""
        taker, waiter = await process.consumer(), await (await stage.process()).consumer()
        due_ms = process.transport.now_ms() + 500
        await process.publish_ids("first", due_ms=due_ms)
        await process.publish_ids("second", queue=OTHER_QUEUE, due_ms=due_ms + 300)
        taking = stage.start(taker.fetch({QUEUE: 1}, 1))
        await stage.backend.pass_time(A_MOMENT)  # it waits first, so that it is the one that is woken
        waiting = stage.start(_fetch_of(waiter, OTHER_QUEUE))
        delivery = await stage.outcome(waiting, "what is due second")
        assert delivery.id == "second"
        assert process.transport.now_ms() - due_ms - 300 < SOON * 1000
        if not taking.done():
            await taker.interrupt()
        await stage.outcome(taking, "the other fetch to end")

    @needs(has_limits=True)
    async def test_the_next_turn_is_anybodys(self, stage: Stage, process: Process) -> None:
        """When the turn comes of who stands in line, whoever waits gets it, although another has made the line."""
        await allow(process, 1, PER)
        consumers = [await process.consumer(), await (await stage.process()).consumer()]
        fetches = [stage.start(stage.fetch_ids(consumer, 1)) for consumer in consumers]
        await stage.backend.pass_time(A_MOMENT)
        await process.publish(limited("a"), limited("b"))
        start_ms = process.transport.now_ms()
        ids = [id for each in fetches for id in await stage.outcome(each, "a turn for each")]
        assert sorted(ids) == ["a", "b"]
        assert process.transport.now_ms() - start_ms < (PER + SOON) * 1000

    @needs(has_groups=True, keeps_place=True)
    async def test_what_becomes_due_at_once_takes_turns(self, stage: Stage, process: Process) -> None:
        """Of the many calls of one group and the few of another that are due at once, the few are among the first."""
        due_ms = process.transport.now_ms() + 2_000
        calls = [("large", n) for n in range(4_000)] + [("small", n) for n in range(2)]
        await process.publish(
            *(
                Envelope(f"{group}-{n:04}", QUEUE, b"", due_ms=due_ms, is_fresh=True, terms=Terms(group=group))
                for group, n in calls
            )
        )
        consumer = await process.consumer()
        assert not await consumer.fetch(LIMITS, 10, wait=False)

        async def is_due() -> bool:
            return process.transport.now_ms() > due_ms

        await stage.until(is_due, "all to be due")
        fetched = await consumer.fetch(LIMITS, 10, wait=False)
        assert [delivery.id for delivery in fetched if delivery.id.startswith("small")] == ["small-0000", "small-0001"]


async def _fetch_of(consumer: Consumer, queue: str) -> Delivery:
    """Fetch from both queues until a message of this one is there."""
    while True:
        for delivery in await consumer.fetch({QUEUE: 10, OTHER_QUEUE: 10}, 10):
            if delivery.queue == queue:
                return delivery
