"""Expiring: how a call ends because its time to start is over, also where no worker would say so."""

from asyncq.broker.ending import Keeping, expiry_of
from asyncq.message import Message
from asyncq.store import CallKey
from asyncq.transport import Transport


class Expiring:
    """Ends calls whose time to start is over.

    Args:
        transport: where they are.
        keeping: whose results they are.
    """

    def __init__(self, transport: Transport, keeping: Keeping) -> None:
        self._transport = transport
        self._keeping = keeping

    async def expire(self, key: CallKey, message: Message) -> bool:
        """End a call as EXPIRED; return False when that is too early, or when it has started or ended otherwise."""
        if message.expires_ms > self._transport.now_ms():
            return False
        outcome = expiry_of(message, self._keeping, self._transport.now_ms())
        return await self._transport.withdraw(message.id, key.queue or message.queue, outcome)
