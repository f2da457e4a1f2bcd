"""The issuing: calls that a ledger knows of are published: claimed, sent, and noted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from asyncq.errors import PublishRefused
from asyncq.ledger import ClaimReceipt, Ledger
from asyncq.rabbitmq.noting import Noter
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.wire import NOTHING, Facts
from asyncq.transport import Envelope, Receipt

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
        sent = [index for index in generations if receipts[index] is None]
        refusals = await self._sending.send(
            [self._sending.call(envelopes[index], facts=_facts(generations[index])) for index in sent]
        )
        for index, refusal in zip(sent, refusals, strict=True):
            receipts[index] = refusal
        self._noter.note([envelopes[index] for index in sent if receipts[index] is None])
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

    async def _strike(self, refused: Sequence[Envelope]) -> None:
        claimed = [envelope for envelope in refused if not envelope.is_fresh]
        if claimed:
            await self._ledger.strike(claimed)


def _facts(generation: int) -> Facts:
    return Facts(generation=generation) if generation else NOTHING
