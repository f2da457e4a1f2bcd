"""The settling: what follows from the end of a run is published, and then its delivery acknowledged."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.holding import Holding
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.names import MAX_NAME
from asyncq.rabbitmq.retelling import Retelling
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.wire import Facts
from asyncq.transport import Again, Dead, Done, Envelope, Return, Settlement


class _End(NamedTuple):
    """A delivery that ends.

    Attributes:
        number: of the settlement.
        token: of the delivery.
        parcels: how many have to be sent first.
        is_final: nothing follows under its id.
        has_effect: False: its channel has ended, so that it takes effect only if its copy has come here meanwhile.
    """

    number: int
    token: str
    parcels: int
    is_final: bool
    has_effect: bool


class Settling:
    """Ends what one consumer holds.

    All that follows from a batch is published and confirmed; then all of it is acknowledged. Who dies between leaves a
    message twice and never loses one. What the server lends anew, because the channel has ended on which it came, is
    not settled here, unless it came here again; but whoever waits for its result is told.

    Args:
        client: its connections.
        now_ms: the time.
        letters: where room is made for new ones.
        holding: what is held.

    Attributes:
        retelling: what offers replies again that were not taken.
    """

    def __init__(self, client: RabbitClient, now_ms: Callable[[], int], letters: LetterBox, holding: Holding) -> None:
        self._wire = client.wire
        self._sending = Sending(client, now_ms)
        self._letters = letters
        self._holding = holding
        self.retelling = Retelling(self._sending)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End deliveries; return for each whether it took effect.

        Raises:
            BrokerUnavailable: some have not ended. The same may be settled again: those that have will give False.
        """
        ends: list[_End] = []
        lost: list[str] = []
        parcels: list[Parcel] = []
        replies: list[Parcel] = []
        for index, settlement in enumerate(settlements):
            token = settlement.delivery.token
            held = self._holding.begin(token)
            if held is None:
                continue
            replies += self._replies(settlement)
            is_done = isinstance(settlement, Done)
            if not held.is_lost:
                needed = self._parcels(settlement)
                parcels += needed
                ends.append(_End(index, token, len(needed), is_done, True))
            elif is_done and not settlement.then:
                ends.append(_End(index, token, 0, True, False))
            else:
                self._holding.disown(token)
                lost.append(token)
        told = self.retelling.line_up(replies)
        refusals = await self._sent([*parcels, *told], [*(end.token for end in ends), *lost])
        if any(refusals):
            self.retelling.put(told, refusals[len(parcels) :])
        for token in lost:
            self._holding.end(token)
        effects = self._end(ends, refusals, [False] * len(settlements))
        if buried := {each.delivery.queue for each in settlements if isinstance(each, Dead)}:
            with suppress(BrokerUnavailable):  # the next one will see to it
                await self._letters.make_room(buried)
        return effects

    async def _sent(self, parcels: Sequence[Parcel], tokens: Sequence[str]) -> Sequence[PublishRefused | None]:
        """Publish what follows from ends, or give them up."""
        if not parcels:
            return ()
        try:
            return await self._sending.send(parcels)
        except BaseException:
            for token in tokens:
                self._holding.give_up(token)
            raise

    def _end(self, ends: Sequence[_End], refusals: Sequence[PublishRefused | None], effects: list[bool]) -> list[bool]:
        """Acknowledge what was waiting for nothing else. A reply that was refused does not matter here."""
        start = 0
        refused: PublishRefused | None = None
        for number, token, parcels, is_final, has_effect in ends:
            refusal = next(filter(None, refusals[start : start + parcels]), None) if parcels else None
            start += parcels
            if refusal is None:
                effects[number] = self._holding.end_well(token, is_final=is_final) or has_effect
            else:
                self._holding.give_up(token)
                refused = refusal
        if refused is not None:
            raise BrokerUnavailable(f"What follows from the end of a task cannot be published yet: {refused}")
        return effects

    def _parcels(self, settlement: Settlement) -> Sequence[Parcel]:
        """Return what has to be published before a delivery may be acknowledged."""
        # By type and not by `match`: this runs for every task, and class patterns on tuples cost four times as much.
        if isinstance(settlement, Done):
            return [self._sending.call(envelope) for envelope in settlement.then] if settlement.then else ()
        delivery = settlement.delivery
        if isinstance(settlement, Again):
            envelope = Envelope(delivery.id, delivery.queue, settlement.body, delivery.priority, settlement.due_ms)
            return [self._sending.call(envelope, facts=Facts(delivery.crashes))]
        if isinstance(settlement, Return):
            return [self._sending.returned(delivery, facts=Facts(delivery.crashes + settlement.is_crash))]
        return [self._letter(settlement), *map(self._sending.call, settlement.then)]

    def _letter(self, settlement: Dead) -> Parcel:
        delivery = settlement.delivery
        message = self._wire.letter(
            delivery,
            settlement.reason,
            settlement.letter_record,
            died_us=time.time_ns() // 1_000,
            ttl_ms=settlement.letter_ttl_ms,
        )
        return Parcel(message, delivery.queue)

    def _replies(self, settlement: Settlement) -> Sequence[Parcel]:
        if isinstance(settlement, (Done, Dead)) and (outcome := settlement.outcome).reply:
            message = self._wire.reply(outcome.reply, settlement.delivery.id, outcome.record)
            if len(message.routing_key.encode()) <= MAX_NAME:  # else it is no address of ours
                return [Parcel(message)]
        return ()
