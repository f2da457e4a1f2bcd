"""The outliving: a call that runs for longer than the server lends a message is kept alive by a copy of it."""

import asyncio
import time
from collections.abc import Callable, Mapping

from asyncq.errors import BrokerUnavailable
from asyncq.rabbitmq.loans import LONGEST_ROUND_MS, Loan
from asyncq.rabbitmq.sending import Sending
from asyncq.transport import Envelope

LOOKS = 4
"""How often in the time that a call may take somebody looks which have taken it."""


class Outliving:
    """Sends a copy round of what runs for long, and then acknowledges its delivery.

    So the server, which closes a channel that keeps a delivery for longer than its `consumer_timeout`, has no reason
    to; and there is a message as long as the call has not ended, also when the store forgets it.

    Args:
        sending: what publishes.
        loans: what runs here.
        now_ms: the time.
        seconds: after which that is done, and half of it later at the latest.
    """

    def __init__(
        self, sending: Sending, loans: Mapping[str, Loan], now_ms: Callable[[], int], *, seconds: float
    ) -> None:
        self._sending = sending
        self._loans = loans
        self._now_ms = now_ms
        self._seconds = seconds

    async def run(self) -> None:
        """See to what runs until cancelled."""
        while True:
            await asyncio.sleep(self._seconds / LOOKS)
            before = time.monotonic() - self._seconds
            old = [
                loan
                for loan in self._loans.values()
                if not loan.is_released and loan.arrival is not None and loan.arrival.at <= before
            ]
            try:
                await self._replace(old)
            except BrokerUnavailable:
                continue  # the next look will see to it

    async def _replace(self, loans: list[Loan]) -> None:
        due_ms = self._now_ms() + LONGEST_ROUND_MS
        envelopes = [Envelope(*loan.copy[:4], due_ms) for loan in loans]
        parcels = [
            self._sending.call(envelope, facts=loan.facts) for loan, envelope in zip(loans, envelopes, strict=True)
        ]
        refusals = await self._sending.send(parcels)
        for loan, refusal in zip(loans, refusals, strict=True):
            if refusal is None:
                loan.release()
