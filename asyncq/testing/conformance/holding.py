"""What is promised of concurrency limits: a slot is a lending, and goes with it."""

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.testing.conformance.leasethread import LeaseThread
from asyncq.testing.conformance.onlooker import QUEUE
from asyncq.testing.conformance.stage import (
    KEPT,
    LEASE,
    LIMITS,
    OTHER_QUEUE,
    Process,
    Stage,
    body_of,
    finish,
    settle_one,
)
from asyncq.testing.conformance.suite import Suite, needs
from asyncq.transport import Again, Consumer, Dead, Done, Envelope, Outcome, Return

ROOM = LimitId(Kind.SLOTS, "room")


def slotted(id: str, key: str = "", priority: int = 0, queue: str = QUEUE) -> Envelope:
    """Return an envelope that needs a slot of the limit `room`."""
    return Envelope(id, queue, body_of(id), priority, terms=Terms(slots=(SlotTerm(ROOM.name, key),)))


async def allow(process: Process, limit: int) -> None:
    """Declare the limit."""
    await process.transport.limits().declare({ROOM: Numbers(limit)})


async def take_none(consumer: Consumer) -> None:
    """Assert that nothing may be fetched now."""
    assert not await consumer.fetch(LIMITS, 10, wait=False)


@needs(has_limits=True)
class HoldingSuite(Suite):
    """Calls with slot terms."""

    async def test_no_more_than_the_limit_run_at_once(self, stage: Stage, process: Process) -> None:
        """A slot that is given back goes to the first in line, whichever process waits for it."""
        await allow(process, 2)
        await process.publish(*(slotted(str(n)) for n in range(5)))
        consumer = await process.consumer()
        deliveries = list(await stage.fetch(consumer, 2))
        await take_none(consumer)
        other = await (await stage.process()).consumer()
        for n in range(2, 5):
            fetching = stage.start(stage.fetch(other, 1))
            await finish(consumer if n < 4 else other, [deliveries.pop(0)])
            (delivery,) = await stage.outcome(fetching, "a slot that came free")
            assert delivery.id == str(n)
            deliveries.append(delivery)
        await take_none(other)

    async def test_every_end_frees_the_slot(self, stage: Stage, process: Process) -> None:
        """A result, a retry, a hand-back, a death and a withdrawal each let the next one go."""
        await allow(process, 1)
        await process.publish(*(slotted(str(n)) for n in range(6)))
        consumer = await process.consumer()
        (delivery,) = await stage.fetch(consumer, 1)
        assert await settle_one(consumer, Done(delivery, KEPT))
        (delivery,) = await stage.fetch(consumer, 1)
        assert delivery.id == "1"
        assert await settle_one(consumer, Again(delivery, b"", process.transport.now_ms() + 3_600_000))
        (delivery,) = await stage.fetch(consumer, 1)
        assert delivery.id == "2"
        assert await settle_one(consumer, Return(delivery))
        (delivery,) = await stage.fetch(consumer, 1)
        third, fourth, fifth = "234" if delivery.id == "2" else "345"
        assert delivery.id == third
        assert third == "2" or not process.transport.capabilities.keeps_place
        assert await settle_one(consumer, Dead(delivery, KEPT, "reason", 60_000))
        (delivery,) = await stage.fetch(consumer, 1)
        assert delivery.id == fourth
        assert await process.transport.withdraw(fourth, QUEUE, Outcome(None), even_running=True)
        (delivery,) = await stage.fetch(consumer, 1)
        assert delivery.id == fifth
        await take_none(consumer)

    async def test_a_dead_holder_frees_its_slots(self, stage: Stage, process: Process) -> None:
        """When a consumer's lease has run out and it is reclaimed, what it held comes first again."""
        await allow(process, 2)
        await process.publish(*(slotted(str(n)) for n in range(4)))
        dead = await (await stage.process()).consumer(lease=LEASE)
        await stage.fetch(dead, 2)
        consumer = await process.consumer()
        await take_none(consumer)
        fetching = stage.start(stage.fetch_ids(consumer, 2))
        thread = LeaseThread(consumer.lease())
        assert await stage.lapse(dead.name, thread) == 2
        await thread.close()
        ids = await stage.outcome(fetching, "the slots of the dead")
        assert ids == ["0", "1"] or (len(ids) == 2 and not process.transport.capabilities.keeps_place)
        await take_none(consumer)

    async def test_who_leaves_frees_its_slots(self, stage: Stage, process: Process) -> None:
        """A consumer that leaves hands its slots back with its messages."""
        await allow(process, 1)
        await process.publish(slotted("a"), slotted("b"))
        leaving = await process.consumer()
        await stage.fetch(leaving, 1)
        assert await leaving.leave() == 1
        consumer = await process.consumer()
        (id,) = await stage.fetch_ids(consumer, 1)
        assert id == "a" or not process.transport.capabilities.keeps_place
        await take_none(consumer)

    async def test_queues_share_slots(self, stage: Stage, process: Process) -> None:
        """A slot that is given back in one queue wakes who waits in another."""
        await allow(process, 1)
        await process.publish(slotted("a"), slotted("b", queue=OTHER_QUEUE))
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 1)
        other = await (await stage.process()).consumer()
        fetching = stage.start(stage.fetch_ids(other, 1, {OTHER_QUEUE: 10}))
        await stage.backend.pass_time(0.05)
        await finish(consumer, deliveries)
        assert await stage.outcome(fetching, "the slot of another queue") == ["b"]

    async def test_a_slot_and_a_turn(self, stage: Stage, process: Process) -> None:
        """A call that has waited for a slot asks for its turn then: none is used up while it waits."""
        api = LimitId(Kind.RATE, "api")
        await process.transport.limits().declare({ROOM: Numbers(1), api: Numbers(2, 60_000)})
        terms = Terms(rates=(RateTerm("api"),), slots=(SlotTerm(ROOM.name),))
        await process.publish(*(Envelope(str(n), QUEUE, b"", terms=terms) for n in range(3)))
        consumer = await process.consumer()
        for n in range(2):
            (delivery,) = await stage.fetch(consumer, 1)
            assert delivery.id == str(n)
            await take_none(consumer)
            await finish(consumer, [delivery])
        await take_none(consumer)
        await process.transport.limits().change(api, Numbers(3, 60_000))
        assert await stage.fetch_ids(consumer, 1) == ["2"]

    async def test_a_suspect_waits_with_the_others(self, stage: Stage, process: Process) -> None:
        """A suspect that needs a slot is lent only to who may take one, and holds up nobody for good."""
        await allow(process, 1)
        await publish_suspect(stage, process)
        consumer = await process.consumer()
        await process.publish(slotted("b"))
        (delivery,) = await stage.fetch(consumer, 1, suspects=0)
        assert delivery.id == "b"
        assert not await consumer.fetch(LIMITS, 10, wait=False, suspects=1)
        await finish(consumer, [delivery])
        assert not await consumer.fetch(LIMITS, 10, wait=False, suspects=0)
        (delivery,) = await stage.fetch(consumer, 1, suspects=1)
        assert (delivery.id, delivery.crashes) == ("a", 2)

    async def test_code_outside_of_tasks_shares_slots(self, stage: Stage, process: Process) -> None:
        """Who holds a slot outside of tasks keeps one from them, as long as it renews it."""
        await allow(process, 1)
        office = process.transport.limits()
        assert (await office.ask(ROOM, "", 1, "client", 3_000)).is_granted
        await process.publish(slotted("a"))
        consumer = await process.consumer()
        await take_none(consumer)
        assert await office.renew(ROOM, "", "client", 1_500)
        assert await stage.fetch_ids(consumer, 1) == ["a"]  # its lease has run out
        assert not await office.renew(ROOM, "", "client", 400)
        assert not await office.leave(ROOM, "", "client")
        assert not (await office.ask(ROOM, "", 1, "client", 60_000)).is_granted

    async def test_a_freed_slot_calls_who_waits(self, stage: Stage, process: Process) -> None:
        """Code that waits for a slot is called when one is given back."""
        await allow(process, 1)
        await process.publish(slotted("a"))
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 1)
        office = process.transport.limits()
        assert not (await office.ask(ROOM, "", 1, "client", 60_000)).is_granted
        called = stage.start(office.called("client", 60))
        await finish(consumer, deliveries)
        await stage.outcome(called, "the call")
        assert (await office.ask(ROOM, "", 1, "client", 60_000)).is_granted
        assert await office.leave(ROOM, "", "client")

    async def test_a_suspect_is_lent_when_its_line_comes(self, stage: Stage, process: Process) -> None:
        """A suspect that joins a line whose time has come is lent in the end, without going back and forth."""
        await allow(process, 1)
        await publish_suspect(stage, process)
        consumer = await process.consumer()
        await process.publish(slotted("b"), slotted("c"))
        (delivery,) = await stage.fetch(consumer, 1, suspects=0)
        assert delivery.id == "b"
        assert not await consumer.fetch(LIMITS, 10, wait=False, suspects=0)
        await finish(consumer, [delivery])  # the line of "c" is to be asked for, and the suspect stands apart
        (delivery,) = await stage.fetch(consumer, 1, suspects=1)
        await finish(consumer, [delivery])
        (other,) = await stage.fetch(consumer, 1, suspects=1)
        assert {delivery.id, other.id} == {"a", "c"}

    async def test_a_suspect_in_line_keeps_its_place(self, stage: Stage, process: Process) -> None:
        """Who may take a suspect gets it in its place in line: those behind it do not start before it."""
        await allow(process, 1)
        await publish_suspect(stage, process)
        consumer = await process.consumer()
        await process.publish(*map(slotted, "bcde"))
        deliveries = await stage.fetch(consumer, 1, suspects=0)
        assert not await consumer.fetch(LIMITS, 10, wait=False, suspects=1)
        lent: list[str] = []
        while len(lent) < 4:
            await finish(consumer, deliveries)
            deliveries = await stage.fetch(consumer, 1, suspects=1)
            lent += [delivery.id for delivery in deliveries]
            assert not await consumer.fetch(LIMITS, 10, wait=False, suspects=1)
        assert lent == ["a", "c", "d", "e"]

    async def test_many_slots_are_counted_now_and_then(self, stage: Stage, process: Process) -> None:
        """Where there are many slots, each that comes free goes to the next in line all the same."""
        await allow(process, 40)
        await process.publish(*(slotted(str(n)) for n in range(60)))
        consumer = await process.consumer()
        deliveries = await stage.fetch(consumer, 40)
        await take_none(consumer)
        fetching = stage.start(stage.fetch_ids(consumer, 20))
        await finish(consumer, deliveries)
        assert await stage.outcome(fetching, "the slots that came free") == [str(n) for n in range(40, 60)]


async def publish_suspect(stage: Stage, process: Process) -> None:
    """Publish "a", which needs a slot, and let two consumers die of it."""
    await process.publish(slotted("a"))
    for _ in range(2):
        consumer = await process.consumer()
        await stage.fetch(consumer, 1)
        await process.transport.release([consumer.name])
