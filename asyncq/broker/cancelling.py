"""Cancelling: how a call ends because somebody says so, wherever it stands."""

from collections.abc import Awaitable, Callable

from asyncq.broker.ending import Keeping, cancellation_of, expiry_of
from asyncq.errors import DecodeError, ResultMissing
from asyncq.message import PROTOCOL_VERSION, Message, decode_message
from asyncq.result import Status, decode_record
from asyncq.store import CallKey, Sighting
from asyncq.tasks.calls import expiring_message
from asyncq.transport import Transport


class Cancelling:
    """Cancels calls.

    The end is written in one step, there and then, also of a call that runs: its worker can settle nothing any more
    and is told to stop. So the answer is final before the worker has heard of it, or while it is frozen or gone.

    Args:
        transport: where they are.
        look: returns what is known of one.
        keeping: whose results they are.
    """

    def __init__(
        self, transport: Transport, look: Callable[[CallKey], Awaitable[Sighting | None]], keeping: Keeping
    ) -> None:
        self._transport = transport
        self._look = look
        self._keeping = keeping

    async def cancel(self, key: CallKey) -> bool:
        """End a call as CANCELLED; return False if it has ended otherwise. Raises ResultMissing."""
        while (sighting := await self._look(key)) is not None:
            if sighting.record is not None:
                return decode_record(sighting.record).status is Status.CANCELLED
            message, now_ms = _message_of(key.id, sighting), self._transport.now_ms()
            expired = expiring_message(sighting)
            is_late = expired is not None and expired.expires_ms <= now_ms
            outcome = (expiry_of if is_late else cancellation_of)(message, self._keeping, now_ms)
            if await self._transport.withdraw(key.id, sighting.queue, outcome, even_running=not is_late):
                return not is_late
        raise ResultMissing(f"Call {key.id!r} cannot be cancelled: nobody knows the id, or it has ended.")


def _message_of(id: str, sighting: Sighting) -> Message:
    """Return the message of a call; of one whose bytes are none, what has to be known of it."""
    try:
        return decode_message(sighting.body or b"")
    except DecodeError:
        return Message(v=PROTOCOL_VERSION, id=id, task="", queue=sighting.queue)
