"""The issuing: calls that a ledger knows of are published: claimed, sent, and noted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from asyncq.errors import MessageError, PublishRefused
from asyncq.ledger import ClaimReceipt, Ledger
from asyncq.message import decode_message
from asyncq.rabbitmq.noting import Noter
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.wire import NOTHING, Facts
from asyncq.transport import Envelope, Receipt, Taken

CLAIM_MS = 120_000
"""How long an id is ours while its message is published: longer than any publish may take, with what it tries again."""

Bound: TypeAlias = Callable[[Sequence[Envelope]], Awaitable[Sequence[PublishRefused | None]]]
"""Says of each message what it is to be refused for, or None."""


class Issuing:
    """Publishes calls, those of ids that a caller chose only where nobody has them.

    Args:
        ledger, noter: who knows.
        sending: what publishes.
    """

    def __init__(self, ledger: Ledger, noter: Noter, sending: Sending) -> None:
        self._ledger = ledger
        self._noter = noter
        self._sending = sending

    async def issue(self, envelopes: Sequence[Envelope], bound: Bound | None = None) -> Sequence[Receipt]:
        """Publish calls; return of each what `Transport.publish` does. Raises BrokerUnavailable."""
        await self._noter.room()
        receipts: list[Receipt] = [None] * len(envelopes)
        generations = await self._claimed(envelopes, receipts)
        if bound is not None and generations:
            bounded = await bound([envelopes[index] for index in generations])
            for index, refusal in zip(list(generations), bounded, strict=True):
                receipts[index] = refusal
        sent = [_Sent(index, envelopes[index], generations[index]) for index in generations if receipts[index] is None]
        sent += await self._in_doubt(envelopes, receipts)
        refusals = await self._sending.send(
            [self._sending.call(envelope, facts=_facts(generation)) for _, envelope, generation in sent]
        )
        for (index, *_), refusal in zip(sent, refusals, strict=True):
            receipts[index] = refusal or receipts[index]
        self._noter.note([each.envelope for each, refusal in zip(sent, refusals, strict=True) if refusal is None])
        await self._strike([envelopes[index] for index in generations if receipts[index] is not None])
        return receipts

    async def _claimed(self, envelopes: Sequence[Envelope], receipts: list[Receipt]) -> dict[int, int]:
        """Return the generation of each that is to be published, by index; write down why the others are not."""
        chosen = [index for index, envelope in enumerate(envelopes) if not envelope.is_fresh]
        claims: list[ClaimReceipt] = [0] * len(envelopes)
        if chosen:
            await self._noter.tried()  # else an id that was published a moment ago would be free
            found = await self._ledger.claim([envelopes[index] for index in chosen], ttl_ms=CLAIM_MS)
            for index, claim in zip(chosen, found, strict=True):
                claims[index] = claim
        generations: dict[int, int] = {}
        for index, claim in enumerate(claims):
            if isinstance(claim, int):
                generations[index] = claim
            else:
                receipts[index] = claim
        return generations

    async def _in_doubt(self, envelopes: Sequence[Envelope], receipts: Sequence[Receipt]) -> "list[_Sent]":
        """Return what others are about to publish under ids that are asked for here, or were when they failed.

        It is published once more before anybody is told that the id is taken. A copy does no harm.
        """
        ours = {envelope.id for envelope, receipt in zip(envelopes, receipts, strict=True) if receipt is None}
        taken = {
            index: _as_published(envelopes[index], receipt.body)
            for index, receipt in enumerate(receipts)
            if isinstance(receipt, Taken) and receipt.body is not None and envelopes[index].id not in ours
        }
        if not taken:
            return []
        claims = await self._ledger.claim(
            list(taken.values()), ttl_ms=CLAIM_MS
        )  # of a body that is claimed: it is ours
        return [
            _Sent(index, envelope, claim)
            for (index, envelope), claim in zip(taken.items(), claims, strict=True)
            if isinstance(claim, int)
        ]

    async def _strike(self, refused: Sequence[Envelope]) -> None:
        claimed = [envelope for envelope in refused if not envelope.is_fresh]
        if claimed:
            await self._ledger.strike(claimed)


class _Sent(NamedTuple):
    """What is published.

    Attributes:
        number: of what was asked for.
    """

    number: int
    envelope: Envelope
    generation: int


def _as_published(envelope: Envelope, body: bytes) -> Envelope:
    """Return another call of the same id, of which there is only this body."""
    try:
        message = decode_message(body)
    except MessageError:
        return Envelope(envelope.id, envelope.queue, body)
    return Envelope(envelope.id, message.queue, body, message.priority, message.due_ms)


def _facts(generation: int) -> Facts:
    return Facts(generation=generation) if generation else NOTHING
