"""Calls that need what limits grant, and end in every way there is: for tests of what that leaves behind."""

from collections.abc import Callable

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.terms import RateTerm, SlotTerm, Terms
from asyncq.transport import Again, Consumer, Delivery, Done, Envelope, Outcome, Return, Settlement, Transport

QUEUE = "mail"
ROOM, API = LimitId(Kind.SLOTS, "room"), LimitId(Kind.RATE, "api")
BOTH = Terms(rates=(RateTerm(API.name),), slots=(SlotTerm(ROOM.name),))

_COUNT = 30


async def drain(transport: Transport, consumer: Consumer) -> None:
    """Publish and end such calls, as code outside of tasks uses the same limits, and let the consumer leave."""
    office = transport.limits()
    await office.declare({ROOM: Numbers(3), API: Numbers(40, 300)})
    now_ms = transport.now_ms()
    await transport.publish(
        [Envelope(str(n), QUEUE, b"", n % 3, now_ms + 50 if n % 5 == 0 else 0, terms=BOTH) for n in range(_COUNT)]
    )
    await office.pause(API, "other", 100)
    assert (await office.ask(ROOM, "client", 1, "client", 200)).is_granted
    assert (await office.ask(API, "client", 1, "client", 200)).is_granted
    assert (await office.ask(ROOM, "dead", 1, "dead", 200)).is_granted
    ways: list[Callable[[Delivery], Settlement]] = [
        Return,
        lambda delivery: Again(delivery, b"", transport.now_ms() + 20),
        lambda delivery: Return(delivery, is_crash=True),
    ]
    for way in ways:
        [delivery] = await consumer.fetch({QUEUE: 1_000}, 1)
        assert list(await consumer.settle([way(delivery)])) == [True]
    [severed] = await consumer.fetch({QUEUE: 1_000}, 1)
    assert await transport.withdraw(severed.id, QUEUE, Outcome(None), even_running=True)
    last = str(_COUNT - 1)
    assert await transport.withdraw(last, QUEUE, Outcome(None)) or severed.id == last
    ended = 1 + (severed.id != last)
    while ended < _COUNT:
        deliveries = await consumer.fetch({QUEUE: 1_000}, 10)
        assert len(deliveries) <= 3
        await consumer.settle([Done(delivery, Outcome(b"{}", 60_000)) for delivery in deliveries])
        ended += len(deliveries)
    assert await consumer.leave() == 0
    assert await office.leave(ROOM, "client", "client")
