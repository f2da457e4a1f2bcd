"""What is promised to those who look at queues and consumers."""

from asyncq.testing.conformance.stage import LEASE, OTHER_QUEUE, QUEUE, Process, Stage, body_of, finish
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import SUSPECT_CRASHES, Outcome


class LookingSuite(Suite):
    """What stands first in line, which queues there are, and who consumes them."""

    @needs(has_priorities=True, shows_line=True)
    async def test_the_oldest_of_each_priority_is_first_in_line(self, stage: Stage, process: Process) -> None:
        """The first of each priority is told, behind those that were fetched, and nothing that is not due."""
        later_ms = process.transport.now_ms() + 60_000
        await process.publish_ids("later", due_ms=later_ms)
        await process.publish_ids("taken", "a", "b")
        await process.publish_ids("high-1", "high-2", priority=4)
        await process.publish_ids("report", queue=OTHER_QUEUE)
        consumer = await process.consumer()
        await process.publish_ids("urgent", priority=9)
        taken = await stage.fetch(consumer, 1)
        assert [delivery.id for delivery in taken] == ["urgent"]
        lines = await process.transport.first_in_line([QUEUE, "never-used", OTHER_QUEUE])
        assert {*lines[0]} == {body_of("taken"), body_of("high-1")}
        assert list(lines[1]) == []
        assert list(lines[2]) == [body_of("report")]

    @needs(has_memory=True, shows_line=True)
    async def test_suspects_are_in_line(self, stage: Stage, process: Process) -> None:
        """What consumers have died of, and stands apart for that, is in line all the same."""
        await process.publish_ids("a")
        for _ in range(SUSPECT_CRASHES):
            crashed = await process.consumer()
            await stage.fetch(crashed, 1)
            assert await process.transport.release([crashed.name]) == 1
        await process.publish_ids("b")
        (line,) = await process.transport.first_in_line([QUEUE])
        assert body_of("a") in line

    @needs(shows_line=True)
    async def test_what_became_due_is_in_line(self, stage: Stage, process: Process) -> None:
        """A delayed message is in line from its time on, with a consumer about or without."""
        await process.publish_ids("a", due_ms=process.transport.now_ms() + 200)

        async def is_in_line() -> bool:
            (line,) = await process.transport.first_in_line([QUEUE])
            return list(line) == [body_of("a")]

        assert not await is_in_line()
        await stage.until(is_in_line, "the message to be in line")

    @needs(has_memory=True, shows_line=True)
    async def test_what_was_withdrawn_is_not_in_line(self, process: Process) -> None:
        """A message that was taken out makes room for the one behind it."""
        await process.publish_ids("a", "b")
        assert await process.transport.withdraw("a", QUEUE, Outcome(None))
        (line,) = await process.transport.first_in_line([QUEUE])
        assert list(line) == [body_of("b")]

    @needs(has_memory=True)
    async def test_queues_that_were_used_are_known(self, stage: Stage, process: Process) -> None:
        """A queue is known from its first message on, to everybody, in alphabetical order, and when it is empty."""
        await process.publish_ids("report", queue=OTHER_QUEUE)
        await process.publish_ids("a")
        consumer = await process.consumer()
        await finish(consumer, await stage.fetch(consumer, 1))
        assert list(await (await stage.process()).transport.known_queues()) == [QUEUE, OTHER_QUEUE]

    @needs(has_memory=True)
    async def test_members_are_seen_with_what_they_tell(self, stage: Stage, process: Process) -> None:
        """A consumer is seen from its joining to its leaving, with its queues, its lease, and what it told last."""
        consumer = await process.consumer("worker-b", lease=60)
        await process.consumer("worker-a", [OTHER_QUEUE])
        lease = await process.lease_of(consumer)
        other = await stage.process()
        a, b = await other.transport.members()
        assert (a.name, list(a.queues), a.about) == ("worker-a", [OTHER_QUEUE], b"")
        assert (b.name, sorted(b.queues), b.about) == ("worker-b", [QUEUE, OTHER_QUEUE], b"")
        assert 0 < b.lease_end_ms - process.transport.now_ms() <= 61_000
        assert await lease.renew(b"first")
        assert await lease.renew(b"\x00second")
        assert await lease.renew()
        _, b = await other.transport.members()
        assert b.about == b"\x00second"
        await consumer.leave()
        assert [member.name for member in await other.transport.members()] == ["worker-a"]

    @needs(has_memory=True)
    async def test_a_member_that_died_is_seen_until_it_is_reclaimed(self, stage: Stage, process: Process) -> None:
        """A lease that ran out shows that, and with its consumer goes what that told."""
        consumer = await process.consumer(lease=LEASE)
        assert await (await process.lease_of(consumer)).renew(b"about")

        async def has_run_out() -> bool:
            (member,) = await process.transport.members()
            return member.lease_end_ms <= process.transport.now_ms()

        await stage.until(has_run_out, "the lease to run out")
        assert await process.transport.release([consumer.name]) == 0
        assert list(await process.transport.members()) == []

    async def test_an_answered_fetch_is_a_sign_of_life(self, process: Process) -> None:
        """Each fetch that the server answers moves the time of its last answer on, also one that brings nothing."""
        consumer = await process.consumer()
        before = consumer.answered_at
        assert list(await consumer.fetch({QUEUE: 1}, 1, wait=False)) == []
        assert consumer.answered_at > before
