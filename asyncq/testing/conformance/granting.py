"""What is promised of rate limits: never more than they allow, in no window, and nobody is bounced."""

from collections.abc import Mapping

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.terms import RateTerm, Terms
from asyncq.testing.conformance.onlooker import QUEUE
from asyncq.testing.conformance.stage import LIMITS, OTHER_QUEUE, SOON, Process, Stage, body_of, finish, settle_one
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Envelope, Outcome, Return

API = LimitId(Kind.RATE, "api")
PER = 1.0
"""Seconds of a window that a test waits out: long enough for a slow machine to see in it that nothing more is lent."""


async def raise_to(process: Process, limit: int) -> None:
    """Let a minute have so many."""
    await process.transport.limits().change(API, Numbers(limit, 60_000))


def limited(id: str, key: str = "", weight: int = 1, priority: int = 0, queue: str = QUEUE) -> Envelope:
    """Return an envelope that needs a turn of the limit `api`."""
    terms = Terms(rates=(RateTerm(API.name, key, weight),))
    return Envelope(id, queue, body_of(id), priority, terms=terms)


async def allow(process: Process, limit: int, per: float, burst: int = 0) -> None:
    """Declare the limit."""
    await process.transport.limits().declare({API: Numbers(limit, round(per * 1000), burst)})


@needs(has_limits=True)
class GrantingSuite(Suite):
    """Calls with rate terms."""

    async def test_no_more_than_the_limit_is_lent(self, stage: Stage, process: Process) -> None:
        """Of what is ready, as many as the limit allows are lent at once; the rest when the window has passed."""
        await allow(process, 3, PER)
        await process.publish(*(limited(str(n)) for n in range(7)))
        consumer = await process.consumer()
        first = await consumer.fetch(LIMITS, 10, wait=False)
        assert [delivery.id for delivery in first] == ["0", "1", "2"]
        assert all(delivery.has_terms for delivery in first)
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert (await process.counts()).waiting == 4
        start_ms = stage.backend.now_ms()
        assert await stage.fetch_ids(consumer, 3) == ["3", "4", "5"]
        assert stage.backend.now_ms() - start_ms < (PER + SOON) * 1000
        assert await stage.fetch_ids(consumer, 1) == ["6"]

    async def test_no_window_has_more(self, stage: Stage, process: Process) -> None:
        """Two consumers that fetch as fast as they can never get more than the limit in any window."""
        limit, count, per = 4, 30, 0.3
        await allow(process, limit, per)
        await process.publish(*(limited(str(n)) for n in range(count)))
        other = await stage.process()
        lent: list[int] = []

        async def consume(some: Process) -> None:
            consumer = await some.consumer()
            while len(lent) < count:
                deliveries = await consumer.fetch(LIMITS, 10)
                lent.extend([some.transport.now_ms()] * len(deliveries))
                await finish(consumer, deliveries)
                if len(lent) >= count:
                    return

        for some in (process, other):
            stage.start(consume(some))

        async def is_all_lent() -> bool:
            return len(lent) >= count

        await stage.until(is_all_lent, "all to be lent")
        lent.sort()
        # Each may be seen late, so the windows are counted from the first one.
        early_ms = [lent[0] + number // limit * per * 1000 - at for number, at in enumerate(lent)]
        assert max(early_ms) < 100, lent

    async def test_keys_have_counts_of_their_own(self, stage: Stage, process: Process) -> None:
        """A key that is used up holds up no other, and no call without terms."""
        await allow(process, 1, 60)
        await process.publish(
            *(limited(f"a{n}", "a") for n in range(3)), limited("b", "b"), Envelope("free", QUEUE, b"")
        )
        consumer = await process.consumer()
        assert sorted(await stage.fetch_ids(consumer, 3)) == ["a0", "b", "free"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)

    async def test_who_comes_later_stands_behind(self, stage: Stage, process: Process) -> None:
        """A line is served in the order of publishing, larger priorities first, also after a newcomer found a turn."""
        await allow(process, 1, 60)
        consumer = await process.consumer()
        await process.publish(limited("first"), limited("second"))
        assert await stage.fetch_ids(consumer, 1) == ["first"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await raise_to(process, 4)
        priority = 5 if process.transport.capabilities.has_priorities else 0
        await process.publish(limited("third"), limited("urgent", priority=priority))
        in_order = ["urgent", "second", "third"] if priority else ["second", "third", "urgent"]
        assert await stage.fetch_ids(consumer, 3) == in_order

    async def test_a_burst_lowers_what_starts_at_once(self, stage: Stage, process: Process) -> None:
        """With a burst of 1, what a window allows is spread over it."""
        await allow(process, 3, 3 * PER, burst=1)
        await process.publish(*(limited(str(n)) for n in range(3)))
        consumer = await process.consumer()
        assert len(await consumer.fetch(LIMITS, 10, wait=False)) == 1
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert await stage.fetch_ids(consumer, 1) == ["1"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)

    async def test_weights_count(self, stage: Stage, process: Process) -> None:
        """A call of weight 3 uses three turns; who stands behind one that does not fit waits for it."""
        await allow(process, 4, 60)
        await process.publish(limited("a", weight=3), limited("b", weight=2), limited("c"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await raise_to(process, 6)
        assert await stage.fetch_ids(consumer, 2) == ["b", "c"]

    async def test_a_withdrawn_head_gives_way(self, stage: Stage, process: Process) -> None:
        """A call that is withdrawn from its line uses no turn: the next has it."""
        await allow(process, 1, 60)
        await process.publish(limited("a"), limited("b"), limited("c"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert await process.transport.withdraw("b", QUEUE, Outcome(None))
        assert (await process.counts()).waiting == 1
        await raise_to(process, 2)
        assert await stage.fetch_ids(consumer, 1) == ["c"]
        assert (await process.counts())[:1] == (0,)

    async def test_a_heavy_head_gives_way(self, stage: Stage, process: Process) -> None:
        """When a head is withdrawn that counts for more than there is, the next need not wait for its time."""
        await allow(process, 2, 60)
        await process.publish(limited("a"), limited("heavy", weight=2), limited("b"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        fetching = stage.start(stage.fetch_ids(consumer, 1))
        await stage.backend.pass_time(0.05)
        assert await process.transport.withdraw("heavy", QUEUE, Outcome(None))
        assert await stage.outcome(fetching, "the one behind it") == ["b"]

    async def test_a_redelivery_takes_a_new_turn(self, stage: Stage, process: Process) -> None:
        """What is handed back, or runs again, asks again, ahead of those that were published later."""
        await allow(process, 1, 60)
        await process.publish(limited("a"), limited("b"))
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Return(delivery))
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await raise_to(process, 2)
        (delivery,) = await stage.fetch(consumer, 1)
        first, second = "ab" if delivery.id == "a" else "ba"
        assert first == "a" or not process.transport.capabilities.keeps_place
        assert await settle_one(consumer, Again(delivery, b"retry", 0))
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await raise_to(process, 4)
        assert await stage.fetch_ids(consumer, 2) == [second, first]

    async def test_all_terms_or_none(self, stage: Stage, process: Process) -> None:
        """A call that needs two turns takes neither while it lacks one."""
        slow = LimitId(Kind.RATE, "slow")
        await process.transport.limits().declare({API: Numbers(1, 60_000), slow: Numbers(1, 60_000)})
        both = Terms(rates=(RateTerm("api"), RateTerm("slow")))
        await process.publish(
            Envelope("first", QUEUE, b"", terms=Terms(rates=(RateTerm("slow"),))),
            Envelope("both", QUEUE, b"", terms=both),
            limited("last"),
        )
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 2) == ["first", "last"]
        await process.transport.limits().change(slow, Numbers(2, 60_000))
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        await raise_to(process, 2)
        assert await stage.fetch_ids(consumer, 1) == ["both"]

    async def test_queues_share_a_limit(self, stage: Stage, process: Process) -> None:
        """One key is one count in all queues, and a queue that nobody consumes does not hold up another."""
        await allow(process, 2, 60)
        await process.publish(
            *(limited(f"o{n}", queue=OTHER_QUEUE) for n in range(2)), *(limited(f"m{n}") for n in range(4))
        )
        both: Mapping[str, int] = {QUEUE: 10, OTHER_QUEUE: 10}
        consumer = await process.consumer()
        assert len(await consumer.fetch(both, 10, wait=False)) == 2
        assert not await consumer.fetch(both, 10, wait=False)
        await raise_to(process, 4)
        assert await stage.fetch_ids(consumer, 2) == ["m2", "m3"]

    async def test_terms_may_come_with_a_hand_back(self, stage: Stage, process: Process) -> None:
        """A message that was published without its terms is lent once, and then only under them."""
        await allow(process, 1, 60)
        await process.publish(limited("a"), Envelope("b", QUEUE, b""))
        consumer = await process.consumer()
        a, b = await stage.fetch(consumer, 2)
        assert (a.has_terms, b.has_terms) == (True, False)
        assert await settle_one(consumer, Return(b, terms=Terms(rates=(RateTerm("api"),))))
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        assert (await process.counts()).waiting == 1

    async def test_a_long_line_is_asked_for_by_nobody(self, stage: Stage, process: Process) -> None:
        """While a line waits for its time, a fetch waits too."""
        await allow(process, 1, 60)
        await process.publish(*(limited(str(n)) for n in range(500)))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["0"]
        while await consumer.fetch(LIMITS, 10, wait=False) or (await process.counts()).ready:
            pass
        fetching = stage.start(consumer.fetch(LIMITS, 10))
        await stage.backend.pass_time(0.2)
        assert not fetching.done()

    async def test_code_outside_of_tasks_shares_a_limit(self, stage: Stage, process: Process) -> None:
        """Who asks for a turn gets one of those that tasks use; while others were first it waits."""
        await allow(process, 2, 60)
        office = process.transport.limits()
        assert (await office.ask(API, "", 1, "one", 60_000)).is_granted
        await process.publish(limited("a"), limited("b"))
        consumer = await process.consumer()
        assert await stage.fetch_ids(consumer, 1) == ["a"]
        assert not await consumer.fetch(LIMITS, 10, wait=False)
        asked = await office.ask(API, "", 1, "two", 60_000)
        assert not asked.is_granted
        assert 0 < asked.wait_ms <= 60_001
        assert not (await office.ask(API, "", 1, "three", 60_000)).is_granted
        await office.change(API, Numbers(5, 60_000))
        assert not (await office.ask(API, "", 1, "three", 60_000)).is_granted
        assert await office.leave(API, "", "two")
        assert (await office.ask(API, "", 1, "three", 60_000)).is_granted
