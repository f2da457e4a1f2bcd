"""The issuing: calls that a ledger knows of are published: claimed, sent, and noted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.ledger import LIFE, Claimed, ClaimReceipt, Copy, Ledger, Replaced
from asyncq.rabbitmq.noting import Noter
from asyncq.rabbitmq.placing import Placing
from asyncq.rabbitmq.rounds import rounds_of
from asyncq.rabbitmq.sending import Sending
from asyncq.rabbitmq.wire import NOTHING, Facts, envelope_in
from asyncq.transport import Envelope, Owned, Receipt, Taken

CLAIM_MS, CLAIM_STEPS = 120_000, 10
"""The least that an id is ours while its message is published, and for how many steps of that a server may be waited
for: to count, to declare, to publish, and all of it again."""

TRIES = 10
"""How often a key may be found in the open claim of yet another call by one that wants to replace that."""

Bound: TypeAlias = Callable[[Sequence[Envelope]], Awaitable[Sequence[PublishRefused | None]]]
"""Says of each message what it is to be refused for, or None."""


class _Issue(NamedTuple):
    """What is to be published.

    Attributes:
        envelope: ours, or that of who had claimed its id or its key before.
        generation: to publish it with.
        receipt: what is said of ours when that is done.
    """

    envelope: Envelope
    generation: int
    receipt: Taken | Owned | None = None


class Issuing:
    """Publishes calls, those of ids that a caller chose, and of unique keys, only where nobody has them.

    An id or a key that somebody has claimed who may have died before its message was published is taken once that was
    published here: else the second try of a publish that had failed would be taken for done.

    Args:
        ledger, noter: who knows.
        sending, placing: what publishes.
        command_timeout: seconds that a server is waited for at the most.
    """

    def __init__(
        self, ledger: Ledger, noter: Noter, sending: Sending, placing: Placing, *, command_timeout: float
    ) -> None:
        self._ledger = ledger
        self._noter = noter
        self._sending = sending
        self._placing = placing
        self._claim_ms = claim_ms(command_timeout)

    async def issue(self, envelopes: Sequence[Envelope], bound: Bound | None = None) -> Sequence[Receipt]:
        """Publish calls; return of each what `Transport.publish` does. Raises BrokerUnavailable."""
        await self._noter.room()
        if all(envelope.unique is None for envelope in envelopes):
            return await self._issue(envelopes, bound)
        receipts: list[Receipt] = [None] * len(envelopes)
        rounds = rounds_of(envelopes)
        for indexes in (rounds.first, rounds.second):
            issued = await self._issue([envelopes[index] for index in indexes], bound)
            for index, receipt in zip(indexes, issued, strict=True):
                receipts[index] = receipt
        for index, last in rounds.alike.items():
            receipts[index] = receipts[last] or Owned(envelopes[last].id, envelopes[last].queue)
        return receipts

    async def issue_once(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Do the same with ids that have one life: what has ended is not published again, also where nothing is kept.

        An end without a result is remembered for an hour.
        """
        await self._noter.room()
        return await self._issue(envelopes, None, has_one_life=True)

    async def _issue(
        self, envelopes: Sequence[Envelope], bound: Bound | None, *, has_one_life: bool = False
    ) -> list[Receipt]:
        """Publish calls no two of which claim the same key."""
        receipts: list[Receipt] = [None] * len(envelopes)
        wanted = list(range(len(envelopes)))
        for _ in range(TRIES):
            if not wanted:
                return receipts
            wanted = await self._try(envelopes, wanted, bound, receipts, has_one_life=has_one_life)
        raise BrokerUnavailable("A unique key is claimed again and again by others who do not publish their calls.")

    async def _try(
        self,
        envelopes: Sequence[Envelope],
        wanted: Sequence[int],
        bound: Bound | None,
        receipts: list[Receipt],
        *,
        has_one_life: bool,
    ) -> list[int]:
        """Publish those of these indexes, and write down their receipts; return those that have to be tried again."""
        claiming = [envelopes[index] for index in wanted]
        claims = await self._claims(claiming)
        if has_one_life:
            await self._keep_ended(claiming, claims)
        issues, copies, again = self._issues(envelopes, dict(zip(wanted, claims, strict=True)), receipts)
        if copies:
            await self._placing.place(copies)
        bounded = {index: issue for index, issue in issues.items() if not isinstance(issue.receipt, Owned)}
        if bound is not None and bounded:
            refusals = await bound([issue.envelope for issue in bounded.values()])
            for index, refusal in zip(bounded, refusals, strict=True):
                receipts[index] = refusal
        await self._send({index: issue for index, issue in issues.items() if receipts[index] is None}, receipts)
        refused = [issue for index, issue in issues.items() if isinstance(receipts[index], PublishRefused)]
        await self._strike([issue.envelope for issue in refused if issue.receipt is None])
        return [index for index in again if not isinstance(receipts[index], PublishRefused)]

    async def _claims(self, envelopes: Sequence[Envelope]) -> list[ClaimReceipt]:
        """Claim the ids that a caller chose, and the unique keys."""
        claims: list[ClaimReceipt] = [0] * len(envelopes)
        claiming = [index for index, envelope in enumerate(envelopes) if _is_claimed(envelope)]
        if claiming:
            await self._noter.tried()  # else an id that was published a moment ago would be free
            found = await self._ledger.claim([envelopes[index] for index in claiming], ttl_ms=self._claim_ms)
            for index, claim in zip(claiming, found, strict=True):
                claims[index] = claim
        return claims

    async def _keep_ended(self, envelopes: Sequence[Envelope], claims: list[ClaimReceipt]) -> None:
        """Give up what was claimed for another life of an id, and take the id for taken."""
        ended = [index for index, claim in enumerate(claims) if _generation_in(claim) >= LIFE]
        await self._strike([envelopes[index] for index in ended])
        for index in ended:
            claims[index] = Taken(None, None)

    def _issues(
        self, envelopes: Sequence[Envelope], claims: dict[int, ClaimReceipt], receipts: list[Receipt]
    ) -> tuple[dict[int, _Issue], list[Copy], list[int]]:
        """Return what is to be published for each, by index, and what calls that were replaced have become.

        And who has to try again: what it wants to replace is no call before it was published. Why nothing is published
        for the others is written down.
        """
        issues: dict[int, _Issue] = {}
        copies: dict[str, Copy] = {}
        again: list[int] = []
        for index, claim in claims.items():
            envelope = envelopes[index]
            receipts[index] = None
            if isinstance(claim, int):
                issues[index] = _Issue(envelope, claim)
            elif isinstance(claim, Replaced):
                receipts[index], copies[claim.copy.id] = claim.owner, claim.copy
            elif not isinstance(claim, Claimed):
                receipts[index] = claim
            else:
                receipt = claim.owner or Taken(claim.body, None)
                claimed = envelope_in(claim.owner.id if claim.owner else envelope.id, claim.body)
                if claimed is None:
                    receipts[index] = receipt
                    continue
                issues[index] = _Issue(claimed, claim.generation, receipt)
                if claim.owner is not None and envelope.unique is not None and envelope.unique.replaces:
                    again.append(index)
        return issues, list(copies.values()), again

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
        claimed = [envelope for envelope in refused if _is_claimed(envelope)]
        if claimed:
            await self._ledger.strike(claimed)


def claim_ms(command_timeout: float) -> int:
    """Return for how long an id is claimed: longer than any publish may take, with what it tries again."""
    return max(CLAIM_MS, round(CLAIM_STEPS * command_timeout * 1000))


def _is_claimed(envelope: Envelope) -> bool:
    return not envelope.is_fresh or envelope.unique is not None


def _generation_in(claim: ClaimReceipt) -> int:
    """Return the generation to publish with; 0 also where nothing is to be published."""
    match claim:
        case int():
            return claim
        case Claimed(generation=generation):
            return generation
        case _:
            return 0


def _facts(generation: int) -> Facts:
    return Facts(generation=generation) if generation else NOTHING
