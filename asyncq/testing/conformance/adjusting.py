"""What is promised to who pauses a limit, changes or resets it, while calls wait for it."""

from asyncq.limits import Numbers
from asyncq.testing.conformance.granting import API, allow, limited
from asyncq.testing.conformance.stage import LIMITS, Process, Stage
from asyncq.testing.conformance.suite import Suite, needs


@needs(has_limits=True)
class AdjustingSuite(Suite):
    """Limits whose numbers are not for ever."""

    async def test_a_pause_holds_everybody_up(self, stage: Stage, process: Process) -> None:
        """A paused key gets nothing until the pause is over, and a shorter pause does not shorten it; others go on."""
        await allow(process, 100, 60)
        office = process.transport.limits()
        start_ms = process.transport.now_ms()
        await office.pause(API, "a", 600)
        await office.pause(API, "a", 10)
        await process.publish(limited("a", "a"), limited("b", "b"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 2) == ["b", "a"]
        assert process.transport.now_ms() - start_ms >= 550
        await office.pause(API, None, 60_000)
        await process.publish(limited("c", "a"))
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await office.pause(API, None, 0)
        assert await stage.fetch_ids(consumer, 1) == ["c"]

    async def test_a_change_holds_at_once_until_it_is_reset(self, stage: Stage, process: Process) -> None:
        """A raised limit lets those go who wait; declaring it anew changes nothing, and a reset gives it back."""
        await allow(process, 1, 60)
        await process.publish(*(limited(str(n)) for n in range(6)))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["0"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        fetching = stage.start(stage.fetch_ids(consumer, 2))
        office = process.transport.limits()
        await office.change(API, Numbers(3, 60_000))
        assert await stage.outcome(fetching, "those that a change lets go") == ["1", "2"]
        await allow(process, 5, 60)
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        (state,) = await office.states()
        assert (state.id, state.declared, state.changed) == (API, Numbers(5, 60_000), Numbers(3, 60_000))
        await office.change(API, None)
        assert await stage.fetch_ids(consumer, 2) == ["3", "4"]
