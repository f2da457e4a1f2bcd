"""What is promised to who was taken for dead and lives: the crashes that were counted in its name are taken back."""

from collections.abc import Mapping

from asyncq.testing.conformance.settling import NOTHING
from asyncq.testing.conformance.stage import (
    A_MOMENT,
    LEASE,
    LIMITS,
    OTHER_QUEUE,
    QUEUE,
    Process,
    Stage,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.testing.conformance.suspecting import crash
from asyncq.transport import Consumer, Return


@needs(has_memory=True)
class AbsolvingSuite(Suite):
    """Consumers that were reclaimed and were merely late."""

    async def test_who_did_not_die_takes_its_crashes_back(self, stage: Stage, process: Process) -> None:
        """A consumer that was reclaimed and lives absolves what it held: no suspects, in their old places."""
        await process.publish_ids(*"abc")
        await crash(stage, process, 2)
        late = await _reclaimed(stage, process, 2)
        await process.publish_ids("d")
        await late.absolve()
        await late.absolve()
        consumer = await process.consumer()
        fetched = await stage.fetch(consumer, 4, suspects=0)
        found = process.in_line((delivery.id, delivery.crashes) for delivery in fetched)
        assert found == [("a", 1), ("b", 1), ("c", 0), ("d", 0)]

    async def test_all_queues_are_absolved(self, stage: Stage, process: Process) -> None:
        """A consumer takes back what was counted in its name in every queue."""
        await process.publish_ids("a", "b")
        await process.publish_ids("c", queue=OTHER_QUEUE)
        limits = {QUEUE: 10, OTHER_QUEUE: 10}
        late = await _reclaimed(stage, process, 3, limits)
        await late.absolve()
        fetched = await stage.fetch(await process.consumer(), 3, limits)
        assert {delivery.id: delivery.crashes for delivery in fetched} == {"a": 0, "b": 0, "c": 0}

    async def test_what_is_absolved_wakes_who_waits(self, stage: Stage, process: Process) -> None:
        """Who may take no suspect is woken when one turns out to be none."""
        await process.publish_ids("a")
        await crash(stage, process, 1)
        late = await _reclaimed(stage, process, 1)
        other = await (await stage.process()).consumer()
        fetching = stage.start(other.fetch(LIMITS, 10, suspects=0))
        await stage.backend.pass_time(A_MOMENT)
        await late.absolve()
        fetched = await stage.outcome(fetching, "what is no suspect")
        assert [(delivery.id, delivery.crashes) for delivery in fetched] == [("a", 1)]

    async def test_what_runs_elsewhere_is_absolved(self, stage: Stage, process: Process) -> None:
        """What another has fetched meanwhile goes on there, and counts no crash when it is handed back."""
        await process.publish_ids("a")
        late = await _reclaimed(stage, process, 1)
        other = await process.consumer()
        (running,) = await stage.fetch(other, 1)
        assert running.crashes == 1
        await late.absolve()
        assert await settle_one(other, Return(running))
        (delivery,) = await stage.fetch(other, 1)
        assert delivery.crashes == 0

    async def test_only_ones_own_death_is_taken_back(self, stage: Stage, process: Process) -> None:
        """A crash that another's death has counted, before or since, stays; so does one that is certain."""
        await process.publish_ids("a")
        await crash(stage, process, 1)
        late = await _reclaimed(stage, process, 1)
        await crash(stage, process, 1)
        other = await process.consumer()
        (delivery,) = await stage.fetch(other, 1)
        assert delivery.crashes == 3
        assert await settle_one(other, Return(delivery, is_crash=True))
        for _ in range(2):
            await late.absolve()
            await other.absolve()
        (delivery,) = await stage.fetch(other, 1)
        assert delivery.crashes == 3
        await finish(other, [delivery])
        await late.absolve()
        assert await process.counts() == NOTHING

    async def test_all_who_were_taken_for_dead_may_say_so(self, stage: Stage, process: Process) -> None:
        """Of three consumers that were reclaimed one after the other each takes back its own crash, in any order."""
        await process.publish_ids("a")
        lates = [await _reclaimed(stage, process, 1) for _ in range(3)]
        other = await process.consumer()
        for crashes, number in ((2, 1), (1, 0), (0, 2)):
            await lates[number].absolve()
            (delivery,) = await stage.fetch(other, 1)
            assert delivery.crashes == crashes
            assert await settle_one(other, Return(delivery))


async def _reclaimed(stage: Stage, process: Process, count: int, limits: Mapping[str, int] = LIMITS) -> Consumer:
    """Return a consumer that lives, though it was reclaimed with so many messages."""
    other = await stage.process()
    reclaimer = await other.lease_of(await other.consumer(lease=LEASE * 2))
    late = await process.consumer(lease=LEASE)
    await stage.fetch(late, count, limits)
    assert await stage.lapse(late.name, reclaimer) == count
    return late
