"""The sending: publishes calls, and sees to it that there is what they are published to."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from asyncq.errors import PublishRefused
from asyncq.ledger import Copy
from asyncq.rabbitmq import delays
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.confirming import Nowhere
from asyncq.rabbitmq.frames import Message
from asyncq.rabbitmq.topology import is_urgent_at
from asyncq.rabbitmq.wire import NOTHING, Facts
from asyncq.terms import encode_terms
from asyncq.transport import Delivery, Envelope


class Parcel(NamedTuple):
    """A message, and what has to be there for it.

    Attributes:
        queue: where it ends up; empty: it is known to be there, or it does not matter.
        route: its way through the ladder; None: it does not go there.
    """

    message: Message
    queue: str = ""
    route: delays.Route | None = None


class Sending:
    """Sends parcels."""

    def __init__(self, client: RabbitClient, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._wire = client.wire
        self._now_ms = now_ms

    def call(self, envelope: Envelope, *, facts: Facts = NOTHING) -> Parcel:
        """Return a call on its way to its queue, or to the ladder while it is not due."""
        id, queue, body, priority, due_ms, _, _, terms = envelope
        if terms is not None:
            facts = facts._replace(terms=encode_terms(terms))
        if due_ms and (delay_ms := due_ms - self._now_ms()) > 0:
            route = delays.route(delay_ms, is_urgent=is_urgent_at(priority))
            message = self._wire.delayed(id, queue, body, priority, due_ms=due_ms, route=route, facts=facts)
            return Parcel(message, queue, route)
        return Parcel(self._wire.ready(id, queue, body, priority, facts=facts), queue)

    def returned(self, call: Delivery | Copy, *, facts: Facts) -> Parcel:
        """Return a call on its way back to its queue: to its place where that has priorities, else to the end."""
        id, queue, body, priority, *_ = call
        return Parcel(self._wire.ready(id, queue, body, priority, facts=facts, is_handed_back=True), queue)

    async def send(self, parcels: Sequence[Parcel], *, insist: bool = True) -> list[PublishRefused | None]:
        """Publish them, confirmed; return for each what it was refused for, or None.

        What was deleted on the server since it was declared is declared once more.

        Args:
            parcels: to publish.
            insist: offer what a queue does not take again for a while.

        Raises:
            BrokerUnavailable: the outcome of all is unknown.
            ConfigurationError: the server has something else under a name, or lacks it and nothing may be declared.
        """
        if not parcels:
            return []
        await self._provide(parcels)
        refusals = await self._client.publisher.publish([parcel.message for parcel in parcels], insist=insist)
        lost = [index for index, refusal in enumerate(refusals) if refusal and parcels[index].queue]
        if any(isinstance(refusals[index], Nowhere) for index in lost):
            self._client.forget()
            again = [parcels[index] for index in lost]
            await self._provide(again)
            outcomes = await self._client.publisher.publish([parcel.message for parcel in again], insist=insist)
            for index, refusal in zip(lost, outcomes, strict=True):
                refusals[index] = refusal
        return refusals

    async def _provide(self, parcels: Sequence[Parcel]) -> None:
        for queue in {parcel.queue for parcel in parcels}:
            if queue:
                await self._client.provide(queue)
        routes = {parcel.route for parcel in parcels if parcel.route}
        if routes:
            await self._client.provide_ladder(routes)
