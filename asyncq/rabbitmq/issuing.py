"""The issuing: calls that a ledger knows of are published: claimed, sent, and noted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from asyncq.errors import DecodeError, PublishRefused
from asyncq.ledger import Claimed, ClaimReceipt, Ledger
from asyncq.message import decode_message
from asyncq.rabbitmq.noting import Noter
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.wire import NOTHING, Facts
from asyncq.transport import Envelope, Receipt, Taken

CLAIM_MS = 120_000
"""How long an id is ours while its message is published: longer than any publish may take, with what it tries again."""

Bound: TypeAlias = Callable[[Sequence[Envelope]], Awaitable[Sequence[PublishRefused | None]]]
"""Says of each message what it is to be refused for, or None."""


class _Issue(NamedTuple):
    """What is to be published.

    Attributes:
        envelope: ours, or that of who had claimed its id before.
        generation: to publish it with.
        receipt: what is said of ours when that is done.
    """

    envelope: Envelope
    generation: int
    receipt: Taken | None = None


class Issuing:
    """Publishes calls, those of ids that a caller chose only where nobody has them.

    An id that somebody has claimed who may have died before its message was published is taken once that was published
    here: else the second try of a publish that had failed would be taken for done.

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
        issues = await self._issues(envelopes, receipts)
        if bound is not None and issues:
            bounded = await bound([issue.envelope for issue in issues.values()])
            for index, refusal in zip(list(issues), bounded, strict=True):
                receipts[index] = refusal
        await self._send({index: issue for index, issue in issues.items() if receipts[index] is None}, receipts)
        refused = [issue for index, issue in issues.items() if isinstance(receipts[index], PublishRefused)]
        await self._strike([issue.envelope for issue in refused if issue.receipt is None])
        return receipts

    async def _issues(self, envelopes: Sequence[Envelope], receipts: list[Receipt]) -> dict[int, _Issue]:
        """Return what is to be published for each, by index; write down why nothing is for the others."""
        chosen = [index for index, envelope in enumerate(envelopes) if not envelope.is_fresh]
        claims: list[ClaimReceipt] = [0] * len(envelopes)
        if chosen:
            await self._noter.tried()  # else an id that was published a moment ago would be free
            found = await self._ledger.claim([envelopes[index] for index in chosen], ttl_ms=CLAIM_MS)
            for index, claim in zip(chosen, found, strict=True):
                claims[index] = claim
        issues: dict[int, _Issue] = {}
        for index, (envelope, claim) in enumerate(zip(envelopes, claims, strict=True)):
            if isinstance(claim, int):
                issues[index] = _Issue(envelope, claim)
            elif not isinstance(claim, Claimed):
                receipts[index] = claim
            elif (claimed := _envelope_of(envelope.id, claim.body)) is not None:
                issues[index] = _Issue(claimed, claim.generation, Taken(claim.body, None))
            else:
                receipts[index] = Taken(claim.body, None)
        return issues

    async def _send(self, issues: dict[int, _Issue], receipts: list[Receipt]) -> None:
        """Publish, and have noted what was published."""
        parcels = [
            self._sending.call(envelope, facts=_facts(generation)) for envelope, generation, _ in issues.values()
        ]
        refusals = await self._sending.send(parcels)
        for (index, issue), refusal in zip(issues.items(), refusals, strict=True):
            receipts[index] = refusal or issue.receipt
        self._noter.note([issue.envelope for index, issue in issues.items() if receipts[index] is issue.receipt])

    async def _strike(self, refused: Sequence[Envelope]) -> None:
        claimed = [envelope for envelope in refused if not envelope.is_fresh]
        if claimed:
            await self._ledger.strike(claimed)


def _envelope_of(id: str, body: bytes) -> Envelope | None:
    """Return a message as whoever had claimed its id would publish it; None: it is none of ours."""
    try:
        message = decode_message(body)
    except DecodeError:
        return None
    return Envelope(id, message.queue, body, message.priority, message.due_ms)


def _facts(generation: int) -> Facts:
    return Facts(generation=generation) if generation else NOTHING
