"""What is promised to calls that wait for a limit and expire: those that have expired use nothing up."""

from asyncq.limits import Numbers
from asyncq.terms import RateTerm, Terms
from asyncq.testing.conformance.granting import API, allow, limited
from asyncq.testing.conformance.stage import LIMITS, QUEUE, Process, Stage, settle_one
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Envelope


@needs(has_limits=True)
class ExpiringSuite(Suite):
    """Calls with rate terms that are wanted until some time."""

    async def test_what_has_expired_uses_no_turn(self, stage: Stage, process: Process) -> None:
        """A call that expires in its line is lent without a turn, to be told so; once lent, it needs one."""
        await allow(process, 1, 60)
        now_ms = process.transport.now_ms()

        def expiring(id: str, expires_ms: int) -> Envelope:
            return Envelope(id, QUEUE, b"", terms=Terms(rates=(RateTerm(API.name),), expires_ms=expires_ms))

        await process.publish(expiring("old", now_ms - 5_000), expiring("a", now_ms + 60_000), limited("b"))
        consumer = await process.consumer()
        old, a = await stage.fetch(consumer, 2)
        assert (old.id, a.id, old.has_terms, a.has_terms) == ("old", "a", True, True)
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await process.publish(expiring("late", now_ms + 200))
        await process.transport.limits().change(API, Numbers(2, 60_000))
        assert await stage.fetch_ids(consumer, 1) == ["b"]
        await stage.backend.pass_time(1.5)
        await process.transport.limits().change(API, Numbers(2, 60_001))
        assert await stage.fetch_ids(consumer, 1) == ["late"]
        await process.transport.limits().change(API, Numbers(3, 60_000))
        assert await settle_one(consumer, Again(a, b"", 0))
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)

    async def test_an_expired_call_that_comes_back_needs_a_turn(self, stage: Stage, process: Process) -> None:
        """What was lent without a turn, for it had expired, and comes back from a dead consumer, takes one."""
        await allow(process, 1, 60)
        expired = Terms(rates=(RateTerm(API.name),), expires_ms=process.transport.now_ms() - 5_000)
        await process.publish(Envelope("old", QUEUE, b"", terms=expired), limited("a"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 2) == ["old", "a"]
        await process.transport.release([consumer.name])
        survivor = await process.consumer()
        assert not await survivor.fetch(LIMITS, 10, wait=False)
        assert (await process.counts()).waiting == 2
        await process.transport.limits().change(API, Numbers(3, 60_000))
        assert await stage.fetch_ids(survivor, 2) == ["old", "a"]

    async def test_a_rescheduled_call_has_its_new_expiry(self, stage: Stage, process: Process) -> None:
        """A call in line that is put off, and expires that much later, takes a turn when its old expiry is past."""
        await allow(process, 1, 60)
        now_ms = process.transport.now_ms()
        terms = Terms(rates=(RateTerm(API.name),), expires_ms=now_ms + 100)
        await process.publish(limited("a"), Envelope("b", QUEUE, b"", terms=terms))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert await process.transport.reschedule("b", QUEUE, b"", b"new", now_ms + 200, expires_ms=now_ms + 60_000)
        await stage.backend.pass_time(1.5)
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert (await process.counts()).waiting == 1
