"""The concluding: how a run ends that a ledger knows: what follows is published, the ledger told, and acknowledged."""

import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress

from asyncq.errors import BrokerUnavailable, LeaseLost, PublishRefused
from asyncq.ledger import Held, Holder, Lent, Parked, Verdict, next_attempt
from asyncq.rabbitmq.issuing import Issuing
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.loans import Loan, parked_ms
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.wire import Wire, facts_of
from asyncq.transport import Again, Dead, DeadLetter, Delivery, Done, Envelope, Return, Settlement

End = tuple[int, Settlement, Loan]
"""The number of a settlement in its batch, the settlement, and what it ends."""


class Concluding:
    """Ends what one consumer holds.

    Who dies between the steps leaves two copies, of which the ledger wants one. Before something is published that
    cannot be taken back, the ledger is asked whether the call is still ours.

    Args:
        wire, sending, issuing, letters, returning: what publishes.
        holder: who knows.
        loans: what is held, by token.
        now_ms: the time.
    """

    def __init__(
        self,
        wire: Wire,
        sending: Sending,
        issuing: Issuing,
        letters: LetterBox,
        returning: Returning,
        holder: Holder,
        loans: MutableMapping[str, Loan],
        now_ms: Callable[[], int],
    ) -> None:
        self._wire = wire
        self._sending = sending
        self._issuing = issuing
        self._letters = letters
        self._returning = returning
        self._holder = holder
        self._loans = loans
        self._now_ms = now_ms

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End deliveries, as `Consumer.settle` does.

        Raises:
            BrokerUnavailable: some have not ended. The same may be settled again: those that have will give False.
        """
        effects = [False] * len(settlements)
        ends = self._ends(settlements)
        await self._conclude([end for end in ends if not _is_followed(end)], effects)  # these wait for nothing
        followed, refused = await self._follow(await self._still_ours([end for end in ends if _is_followed(end)]))
        await self._conclude(followed, effects)
        if refused is not None:
            raise BrokerUnavailable(f"What follows from the end of a task cannot be published yet: {refused}")
        return effects

    async def give_back(self, loans: Sequence[Loan]) -> None:
        """Publish calls again that wait by the ledger's word. Raises BrokerUnavailable."""
        parcels = [self._sending.returned(loan.copy, facts=loan.facts) for loan in loans]
        refusals = await self._sending.send(parcels)
        for loan, refusal in zip(loans, refusals, strict=True):
            if refusal is None:  # else it stays unacknowledged, until the channel ends
                loan.release()

    def _ends(self, settlements: Sequence[Settlement]) -> list[End]:
        """Return what is ours, as far as is known here; each loan once."""
        ends: dict[str, End] = {}
        for index, settlement in enumerate(settlements):
            token = settlement.delivery.token
            loan = self._loans.get(token)
            if loan is not None and token not in ends:
                ends[token] = (index, settlement, loan)
        return list(ends.values())

    async def _conclude(self, ends: Sequence[End], effects: list[bool]) -> None:
        """End what nothing more follows from, and write down whether that took effect."""
        if not ends:
            return
        answers = await self._told([settlement for _, settlement, _ in ends], [loan for _, _, loan in ends])
        for (index, settlement, _), has_effect in zip(ends, answers, strict=True):
            effects[index] = has_effect
            self._loans.pop(settlement.delivery.token, None)
        await self._let_go(ends, effects)

    async def _still_ours(self, ends: Sequence[End]) -> Sequence[End]:
        """Ask the ledger for those from which something follows, and leave out what it does not want any more."""
        asked = [end for end in ends if not end[2].is_doubtful]
        if not asked:
            return ends
        try:
            verdicts = await self._holder.take([loan.copy for _, _, loan in asked], suspects=0)
        except LeaseLost:
            return ()
        gone: set[int] = set()
        for (index, settlement, loan), verdict in zip(asked, verdicts, strict=True):
            if not isinstance(verdict, Held):
                gone.add(index)
                self._loans.pop(settlement.delivery.token, None)
                await self._dispose(loan, verdict)
        return [end for end in ends if end[0] not in gone]

    async def _follow(self, ends: Sequence[End]) -> tuple[list[End], PublishRefused | None]:
        """Publish what follows; return what may end now, and why others may not."""
        if not ends:
            return [], None
        refusals: dict[int, PublishRefused | None] = {}
        then = [(end[0], envelope) for end in ends for envelope in _then(end[1])]
        if then:  # first: if what comes now fails, a second copy of these does no harm, and one of a letter is seen
            receipts = await self._issuing.issue([envelope for _, envelope in then])
            for (index, _), receipt in zip(then, receipts, strict=True):
                if isinstance(receipt, PublishRefused):
                    refusals[index] = receipt
        parcels = {
            index: parcel
            for index, settlement, loan in ends
            if index not in refusals and (parcel := self._parcel(settlement, loan)) is not None
        }
        refusals |= zip(parcels, await self._sending.send(list(parcels.values())), strict=True)
        refused = {index: refusal for index, refusal in refusals.items() if refusal is not None}
        for index, _, loan in ends:
            loan.has_followed = index not in refused
        if buried := {end[1].delivery.queue for end in ends if isinstance(end[1], Dead)}:
            with suppress(BrokerUnavailable):  # the next one will see to it
                await self._letters.make_room(buried)
        return [end for end in ends if end[0] not in refused], next(iter(refused.values()), None)

    async def _told(self, settlements: Sequence[Settlement], loans: Sequence[Loan]) -> Sequence[bool]:
        """Tell the ledger of ends; what it does not answer to is in doubt from then on."""
        try:
            return await self._holder.settle(settlements)
        except BaseException:
            for loan in loans:
                loan.is_doubtful = True
            raise

    async def _let_go(self, ends: Sequence[End], effects: Sequence[bool]) -> None:
        """Do what is left to do once the ledger has spoken; nothing of it can fail the settlement any more."""
        returned: list[Loan] = []
        disputed: list[End] = []
        for end in ends:
            index, settlement, loan = end
            if not effects[index]:
                disputed.append(end)
            elif isinstance(settlement, Return):
                if settlement.terms is not None:
                    loan.copy = loan.copy._replace(terms=settlement.terms)
                returned.append(loan)
            else:
                loan.release()
        if returned:
            await self._give_back_surely(returned)
        if disputed:
            await self._settle_dispute(disputed)

    async def _give_back_surely(self, loans: Sequence[Loan]) -> None:
        try:
            await self.give_back(loans)
        except BrokerUnavailable:
            for loan in loans:
                self._send_round(loan)

    async def _settle_dispute(self, ends: Sequence[End]) -> None:
        """Ask what becomes of calls that were not ours any more, or had ended when we first said so."""
        lost = [
            DeadLetter(delivery.id, delivery.queue, delivery.body, "", None, loan.died_us // 1000, loan.died_us)
            for _, (delivery, *_), loan in ends
            if loan.died_us and not loan.is_doubtful
        ]
        try:
            if lost:
                await self._drop(lost)
            verdicts = await self._holder.take([loan.copy for _, _, loan in ends], suspects=0)
        except LeaseLost:
            return  # the channels will be closed
        except BrokerUnavailable:
            verdicts = [Held(0)] * len(ends)
        for (_, _, loan), verdict in zip(ends, verdicts, strict=True):
            await self._dispose(loan, verdict)

    async def _drop(self, letters: Sequence[DeadLetter]) -> None:
        for queue in {letter.queue for letter in letters}:
            await self._letters.drop([letter for letter in letters if letter.queue == queue])

    async def _dispose(self, loan: Loan, verdict: Verdict) -> None:
        """Let go of a delivery whose call is not ours."""
        if verdict is None:
            loan.release()
        elif isinstance(verdict, Held | Parked):
            self._send_round(loan, parked_ms(0) if isinstance(verdict, Parked) else 0)
        else:  # it waits
            if isinstance(verdict, Lent):
                await self._holder.settle([Return(Delivery(*loan.copy[:4], *verdict))])
            await self._give_back_surely([loan])

    def _send_round(self, loan: Loan, away_ms: int = 0) -> None:
        if not loan.is_released and loan.arrival is not None:
            loan.is_released = True
            self._returning.send_round(loan.arrival, self._now_ms() + away_ms if away_ms else 0, loan.facts)

    def _parcel(self, settlement: Settlement, loan: Loan) -> Parcel | None:
        delivery = settlement.delivery
        if isinstance(settlement, Again):
            envelope = Envelope(delivery.id, delivery.queue, settlement.body, delivery.priority, settlement.due_ms)
            terms = loan.copy.terms and loan.copy.terms.once_lent()
            copy = loan.copy._replace(generation=next_attempt(loan.copy.generation), terms=terms)
            return self._sending.call(envelope, facts=facts_of(copy))
        if isinstance(settlement, Dead):
            loan.died_us = time.time_ns() // 1_000
            record, ttl_ms = settlement.letter_record, settlement.letter_ttl_ms
            message = self._wire.letter(delivery, settlement.reason, record, died_us=loan.died_us, ttl_ms=ttl_ms)
            return Parcel(message, delivery.queue)
        return None


def _then(settlement: Settlement) -> Sequence[Envelope]:
    return settlement.then if isinstance(settlement, (Done, Dead)) else ()


def _is_followed(end: End) -> bool:
    """Tell whether something is still to be published before the ledger is told."""
    _, settlement, loan = end
    return not loan.has_followed and (isinstance(settlement, (Again, Dead)) or bool(_then(settlement)))
