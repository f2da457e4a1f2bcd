"""What is promised of messages that have a time: when they come, and in which order."""

from asyncq.testing.conformance.fetching import fetch_some
from asyncq.testing.conformance.stage import A_MOMENT, LIMITS, SOON, Process, Stage
from asyncq.testing.conformance.suite import Suite, needs


class DelayingSuite(Suite):
    """Due times."""

    async def test_a_delayed_message_is_fetched_when_it_is_due(self, stage: Stage, process: Process) -> None:
        """A fetch that waits gets a delayed message soon after its time, and never before."""
        consumer = await process.consumer()
        due_ms = process.transport.now_ms() + 300
        await process.publish_ids("a", due_ms=due_ms)
        assert list(await consumer.fetch(LIMITS, 1, wait=False)) == []
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert 0 <= process.transport.now_ms() - due_ms < SOON * 1000

    async def test_an_earlier_message_overtakes_the_one_being_waited_for(self, stage: Stage, process: Process) -> None:
        """A fetch that waits for a later message is woken by an earlier one that another process publishes."""
        other = await stage.process()
        await process.publish_ids("late", due_ms=process.transport.now_ms() + 100_000)
        consumer = await process.consumer()
        fetching = stage.start(fetch_some(consumer, LIMITS, 10))
        await stage.backend.pass_time(A_MOMENT)
        now_ms = process.transport.now_ms()
        await other.publish_ids("early", due_ms=now_ms + 300)
        assert [delivery.id for delivery in await stage.outcome(fetching, "the earlier message")] == ["early"]
        assert 300 <= process.transport.now_ms() - now_ms < 300 + SOON * 1000

    async def test_messages_become_due_in_the_order_of_their_times(self, stage: Stage, process: Process) -> None:
        """Delayed messages come by due time, not in the order of publishing."""
        now_ms = process.transport.now_ms()
        for id, delay_ms in (("c", 500), ("a", 100), ("b", 300)):
            await process.publish_ids(id, due_ms=now_ms + delay_ms)
        assert await stage.fetch_ids(await process.consumer(), 3) == ["a", "b", "c"]

    async def test_a_message_due_in_the_past_is_ready_at_once(self, process: Process) -> None:
        """A due time that is over already is none."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() - 10_000)
        (delivery,) = await (await process.consumer()).fetch(LIMITS, 1, wait=False)
        assert delivery.id == "a"

    @needs(has_priorities=True)
    async def test_what_has_become_due_keeps_its_priority(self, stage: Stage, process: Process) -> None:
        """A due message with a larger priority comes before ready ones with a smaller."""
        await process.publish_ids("urgent", priority=9, due_ms=process.transport.now_ms() + 100)
        await process.publish_ids(*"abc")
        consumer = await process.consumer()

        async def is_due() -> bool:
            return (await process.counts()).ready == 4

        await stage.until(is_due, "the delayed message to be due")
        assert (await stage.fetch_ids(consumer, 2))[0] == "urgent"
