"""Calls of groups, for the suites: how they are published, and how they come one by one."""

from asyncq.terms import Terms
from asyncq.testing.conformance.stage import LIMITS, NOT_KEPT, QUEUE, Process, Stage, finish
from asyncq.transport import Consumer, Envelope


def grouped(
    id: str, group: str | None = None, priority: int = 0, *, due_ms: int = 0, needs: Terms | None = None
) -> Envelope:
    """Return a message of a group: by default, its id without the digits behind it."""
    group = id.rstrip("0123456789") if group is None else group
    terms = Terms(needs.rates, needs.slots, group) if needs else Terms(group=group)
    return Envelope(id, QUEUE, id.encode(), priority, due_ms, terms=terms if group or needs else None)


def many(group: str, count: int, *, needs: Terms | None = None) -> list[Envelope]:
    """Return so many messages of a group."""
    return [grouped(f"{group}{n}", group, needs=needs) for n in range(count)]


async def sharing(stage: Stage, process: Process) -> Consumer:
    """Return a consumer that has seen that its queue has groups."""
    consumer = await process.consumer()
    if not process.transport.capabilities.keeps_place:
        await process.publish(grouped("opening"))
        await finish(consumer, await stage.fetch(consumer, 1), NOT_KEPT)
    return consumer


async def publish(stage: Stage, process: Process, *envelopes: Envelope) -> None:
    """Publish messages, and wait until they stand in their lanes: on some brokers a consumer brings them there."""
    count = (await process.counts()).waiting + len(envelopes)
    await process.publish(*envelopes)
    await lined_up(stage, process, count)


async def lined_up(stage: Stage, process: Process, count: int) -> None:
    """Wait until so many messages stand in their lanes, where they do not from the start."""

    async def are_there() -> bool:
        return (await process.counts()).waiting == count

    if not process.transport.capabilities.keeps_place:
        await stage.until(are_there, f"{count} messages to stand in their lanes")


async def one_by_one(stage: Stage, consumer: Consumer, count: int) -> list[str]:
    """Fetch, and end, one message after the other."""
    found: list[str] = []
    for _ in range(count):
        (delivery,) = await stage.fetch(consumer, 1)
        await finish(consumer, [delivery], NOT_KEPT)
        found.append(delivery.id)
    return found


async def all_ready(consumer: Consumer, most: int = 100) -> list[str]:
    """Fetch one message after the other until nothing is ready."""
    found: list[str] = []
    while deliveries := await consumer.fetch(LIMITS, 1, wait=False):
        found += [delivery.id for delivery in deliveries]
        assert len(found) <= most
    return found
